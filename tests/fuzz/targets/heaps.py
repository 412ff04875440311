"""Heaps with any options: limits, reserves, locks and wipes, with objects in them, beside a dict of what each object
holds."""
import contextlib

from hypothesis import given, note
from hypothesis import strategies as st

from fuzz.behaviour import kind, saw, size
from fuzz.compare import is_error, outcome
from fuzz.values import EDGES, HUGE, SMALL
from fuzz.ways import Ways
from secalloc import AllocationError, Heap, HeapLimitError, ProtectedError, SecureBytes, WipedError

SIZES = st.one_of(st.integers(0, 300), st.sampled_from(EDGES))
WHICH = st.integers(0, 255)
OPTIONS = {
    "limit": st.sampled_from([None, 0, 1, 4_096, "64 KiB", 100_000, "1 MiB", "16 MiB", "4096 GiB", 2**62]),
    "backend": st.sampled_from([None, "secretmem", "mlock", "auto"]),
    "on_fork": st.sampled_from(["isolate", "copy"]),
    "retain": st.sampled_from([None, 0, 1, "128 KiB", 2**62]),
    "flush_on_wipe": st.booleans(),
    "prefault": st.booleans(),
    "hardening": st.sampled_from([None, "fast", "full"]),
    "quarantine": st.sampled_from([None, 0, 1, 256]),
    "quarantine_large": st.sampled_from([None, 0, 1, 32]),
    "warm_large": st.sampled_from([None, 0, 8]),
    "gap_frames": st.sampled_from([None, 0, 1, 255]),
    "verify_whole": st.sampled_from([None, False, True]),
}
NAMES = st.sampled_from(["h", "", "a name that is longer than a record has room for " * 3, "\u20ac\0\ud800"])
# Not what is false: that is the default of each.
WRONG = st.fixed_dictionaries({}, optional={
    "limit": st.sampled_from(["4 XiB", -1, 1.5, "-1", "1e3", [1], 2**64, "99999999999 GiB", "4 TiB"]),
    "backend": st.sampled_from(["tmpfs", 5, b"mlock"]),
    "on_fork": st.sampled_from(["", "share", 5, None]),
    "retain": st.sampled_from(["x", -1, 1.5, 2**64]),
    "hardening": st.sampled_from(["slow", 5]),
    "quarantine": st.sampled_from([-1, 257, "1", 1.5, 2**70]),
    "quarantine_large": st.sampled_from([-1, 33, "1"]),
    "warm_large": st.sampled_from([-1, 9, "1"]),
    "gap_frames": st.sampled_from([-1, 256, "1"]),
    "verify_whole": st.sampled_from([2, "yes"]),
})  # fmt: skip
way = Ways()


class Model:
    """`items`: objects with what they hold, None where they are wiped; those that are closed have `access`
    "noaccess"."""

    def __init__(self, options):
        self.heap = Heap("fuzzed", **options)
        self.limit = self.heap.limit
        self.items = []
        self.locked = False
        self.serial = 0

    def content(self, size):
        self.serial += 1
        return ((self.serial * 2_654_435_761 % 2**32).to_bytes(4, "little") * (size // 4 + 1))[:size]

    def made(self, name, make, content):
        """An object of the heap: unless that is locked, or full."""
        key = outcome(make)
        saw(name, kind(key), size(len(content)))
        note(f"{name} {len(content)}: {key!r}")
        if self.locked:
            assert key is ProtectedError
        elif is_error(key):
            assert issubclass(key, AllocationError), f"{name} raised {key.__name__}"
            assert self.limit is not None, "memory that is not limited ended"
            assert key is HeapLimitError or len(content) > 2**40
        else:
            assert key == content, f"{name} made something else"
            self.items.append([key, bytearray(content), "readwrite"])

    def one(self, which):
        return self.items[which % len(self.items)] if self.items else None

    def check(self):
        stats = self.heap.stats()
        alive = [item for item in self.items if item[1] is not None]
        assert self.heap.is_valid(), "the heap is not valid"
        assert (stats.live, stats.live_bytes) == (len(alive), sum(len(item[1]) for item in alive)), "not what lives"
        assert self.limit is None or stats.committed <= self.limit, "more than the limit is mapped"
        assert stats.locked == self.heap.locked == self.locked
        assert stats.committed <= stats.committed_peak
        for key, content, access in self.items:
            if content is None:
                assert key.wiped
            elif access != "noaccess" and not self.locked:
                assert key == content, "an object holds something else"


@way(SIZES, st.booleans())
def make(model, count, guarded):
    content = model.content(count)
    model.made("make", lambda: SecureBytes(content, heap=model.heap, guarded=guarded), content)


@way(SIZES, st.integers(1, 60))
def make_many(model, count, times):
    for _ in range(times):
        make(model, min(count, 20_000), False)


@way(st.sampled_from(HUGE))
def make_absurd(model, count):
    key = outcome(lambda: SecureBytes(count, heap=model.heap))
    saw("absurd", kind(key), count > 0)
    assert is_error(key)
    assert issubclass(key, (MemoryError, OverflowError, ValueError, ProtectedError))


@way(WHICH, SMALL, SMALL, st.integers(1, 5))
def make_of_it(model, which, start, stop, times):
    item = model.one(which)
    if item and item[1] is not None and item[2] != "noaccess" and not model.locked:
        model.made("slice", lambda: item[0][start:stop] * times, item[1][start:stop] * times)


@way(WHICH, SMALL, st.binary(min_size=1, max_size=9))
def write(model, which, at, data):
    item = model.one(which)
    if item is None or item[1] is None or at < 0:
        return
    data = data[: max(0, len(item[1]) - at)]
    answer = outcome(lambda: item[0].__setitem__(slice(at, at + len(data)), data))
    if model.locked or item[2] != "readwrite":
        assert answer is ProtectedError or not data
    elif is_error(answer):
        assert issubclass(answer, HeapLimitError)  # for the copy of `data`
    else:
        item[1][at : at + len(data)] = data


@way(WHICH, st.sampled_from(["noaccess", "readonly", "readwrite"]))
def protect(model, which, access):
    """Guarded ones, which may be freed and wiped in any state; of a locked heap as well."""
    item = model.one(which)
    if item is None:
        return
    answer = outcome(getattr(item[0], access))
    saw("protect", item[0].guarded, item[1] is None, model.locked, access, kind(answer))
    if item[1] is None:
        assert answer is (WipedError if item[0].guarded else TypeError) or issubclass(answer, WipedError)
    elif not item[0].guarded:
        assert answer is TypeError
    else:
        assert answer is None
        item[2] = access


@way(WHICH, st.booleans())
def enter(model, which, whole):
    """Within a block all is open."""
    item = model.one(which)
    if item is None or item[1] is None or not (whole or item[0].guarded):
        return
    with model.heap.unlocked(), item[0].unlocked() if item[0].guarded else contextlib.nullcontext():
        assert item[0] == item[1], "within the block it is not readable"
        if item[1]:
            item[0][0] = item[1][0] = 0x41
    saw("enter", model.locked, item[2])


@way(WHICH)
def wipe(model, which):
    item = model.one(which)
    if item:
        item[0].wipe()
        saw("wipe", model.locked, item[2], item[1] is None)
        item[1] = None


@way(WHICH, st.integers(1, 60))
def drop(model, which, times):
    for _ in range(min(times, len(model.items))):
        model.items.pop(which % len(model.items))


@way()
def wipe_all(model):
    model.heap.wipe()
    saw("wipe_all", model.locked, size(len(model.items)))
    for item in model.items:
        if item[1] is not None:
            item[1][:] = bytes(len(item[1]))


@way()
def trim(model):
    model.heap.trim()
    saw("trim", model.locked, size(len(model.items)))


@way(
    st.sampled_from([0, 1, 4_096, "256 KiB", "1 MiB", "2 MiB", 2**62, 2**64, -1, "x"]),
    st.sampled_from([None, 1, 2, 0, -1]),
)
def reserve(model, count, threads):
    """Without a limit it would go on to the end of the machine's memory."""
    if count == 2**62 and (model.limit is None or model.limit > 2**24):
        return
    answer = outcome(lambda: model.heap.reserve(count, threads=threads))
    saw("reserve", count, threads, model.locked, model.limit is not None, kind(answer))
    assert answer is None or issubclass(answer, (AllocationError, ValueError, ProtectedError, OverflowError))


@way(st.booleans())
def lock(model, shut):
    (model.heap.lock if shut else model.heap.unlock)()
    model.locked = shut


@way(WRONG)
def other_heap(model, options):
    """With mistakes in its options there is none."""
    answer = outcome(lambda: Heap("wrong", **options))
    saw("other_heap", *options, kind(answer))
    if options:
        assert is_error(answer)
        assert issubclass(answer, (ValueError, TypeError, OverflowError)), f"a heap raised {answer.__name__}"


@way(NAMES)
def named(model, name):
    heap = Heap(name)
    assert heap.name == name
    assert SecureBytes(b"x", heap=heap).heap is heap
    assert repr(heap)


@given(st.fixed_dictionaries({}, optional=OPTIONS), way.lists(12))
def check(options, steps):
    model = Model(options)
    for step in steps:
        way.go(step, model)
        model.check()
    model.heap.unlock()
    model.locked = False
    model.check()
    model.items.clear()
    model.heap.trim()
    model.check()
    assert model.heap.stats().committed == 0, "an empty heap has pages after trim"
