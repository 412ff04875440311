"""Methods of SecureBytes at bad moments: wiped before or in the middle, without memory, used and wiped by threads."""
import contextlib
import gc
import sys

import pytest
from support import capi
from support.children import succeed
from support.fixtures import nothing_leaks  # noqa: F401
from support.threads import in_threads
from support.uses import TABLE, USES

from secalloc import AllocationError, Heap, HeapLimitError, ProtectedError, SecureBytes, WipedError

SECRET = b"Correct horse, battery\tstaple"
SLOTS = [1, 24, 40, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1_024]
each_use = pytest.mark.parametrize("use", USES.values(), ids=USES)


@each_use
def test_each_method_is_refused_once_the_object_is_wiped(use):
    key = SecureBytes(SECRET)
    use(key)  # the control
    key.wipe()
    with pytest.raises(WipedError):
        use(key)


@each_use
def test_each_method_is_refused_by_what_was_never_made(use):
    with pytest.raises(WipedError):
        use(SecureBytes.__new__(SecureBytes))


@each_use
def test_each_method_is_refused_by_a_locked_heap_and_by_noaccess(use):
    heap = Heap("methods")
    key, guarded = SecureBytes(SECRET, heap=heap), SecureBytes(SECRET, guarded=True)
    heap.lock()
    with pytest.raises(ProtectedError):
        use(key)
    with heap.unlocked():
        use(key)
    guarded.noaccess()
    with pytest.raises(ProtectedError):
        use(guarded)
    with guarded.unlocked():
        use(guarded)


def filled(heap):
    """What fills a heap with a limit, to the last slot: lists of objects, one for each size."""
    kept = [[] for _ in SLOTS]
    for size, of_size in zip(SLOTS, kept, strict=True):
        with contextlib.suppress(HeapLimitError):
            while True:
                of_size.append(SecureBytes(size, heap=heap))
    return kept


@each_use
def test_without_memory_each_method_leaves_nothing_behind(use):
    """At first there is no slot at all, then one of each size more with every attempt, until there are enough."""
    heap = Heap("full", limit="64 KiB")
    key = SecureBytes(SECRET * 9, heap=heap)
    before = heap.stats().live
    result = use(key)
    needs_memory = heap.stats().live > before
    del result
    key = SecureBytes(SECRET * 9, heap=heap)  # whole, and not frozen
    kept = filled(heap)
    failures = 0
    while True:
        live = heap.stats().live
        try:
            use(key)
        except HeapLimitError:
            failures += 1
            assert heap.stats().live == live
            assert heap.is_valid()
            for of_size in kept:
                del of_size[-1:]
        else:
            break
    assert (failures > 0) == needs_memory


# --- code that runs in the middle ---


class Wiping:
    """A number, or a sequence, that wipes the SecureBytes while it is asked for its value or its items."""

    def __init__(self, key, value=0):
        self.key, self.value = key, value

    def __index__(self):
        self.key.wipe()
        return self.value

    def __iter__(self):
        yield b"before"
        self.key.wipe()
        yield b"behind"


class WipingBuffer:
    """From Python 3.12 on."""

    def __init__(self, key):
        self.key = key

    def __buffer__(self, flags):
        self.key.wipe()
        return memoryview(TABLE)


BY_INDEX = {
    "find a byte": lambda key: key.find(Wiping(key, 101)), "find from": lambda key: key.find(b"t", Wiping(key, 1)),
    "rfind to": lambda key: key.rfind(b"t", 0, Wiping(key, 20)), "index": lambda key: key.index(Wiping(key, 101)),
    "count to": lambda key: key.count(b"t", 0, Wiping(key, 9)), "membership": lambda key: Wiping(key, 101) in key,
    "startswith": lambda key: key.startswith(b"C", Wiping(key, 0)),
    "endswith": lambda key: key.endswith(b"C", Wiping(key, 0)),
    "endswith none": lambda key: key.endswith((), Wiping(key, 0)),
    "split": lambda key: key.split(b"t", Wiping(key, 2)), "rsplit": lambda key: key.rsplit(None, Wiping(key, 2)),
    "replace": lambda key: key.replace(b"t", b"TT", Wiping(key, 2)), "ljust": lambda key: key.ljust(Wiping(key, 90)),
    "rjust": lambda key: key.rjust(Wiping(key, 90)), "center": lambda key: key.center(Wiping(key, 90)),
    "zfill": lambda key: key.zfill(Wiping(key, 90)), "expandtabs": lambda key: key.expandtabs(Wiping(key, 4)),
    "hex": lambda key: key.hex(":", Wiping(key, 4)), "repetition": lambda key: key * Wiping(key, 4),
    "repetition from the left": lambda key: Wiping(key, 4) * key, "join": lambda key: key.join(Wiping(key)),
}  # fmt: skip
BY_BUFFER = {
    "find": lambda key, part: key.find(part), "rindex": lambda key, part: key.rindex(part),
    "count": lambda key, part: key.count(part), "startswith": lambda key, part: key.startswith(part),
    "endswith": lambda key, part: key.endswith((b"x", part)), "membership": lambda key, part: part in key,
    "split": lambda key, part: key.split(part), "rsplit": lambda key, part: key.rsplit(part),
    "partition": lambda key, part: key.partition(part), "rpartition": lambda key, part: key.rpartition(part),
    "strip": lambda key, part: key.strip(part), "removeprefix": lambda key, part: key.removeprefix(part),
    "removesuffix": lambda key, part: key.removesuffix(part), "replace": lambda key, part: key.replace(part, b""),
    "replace by": lambda key, part: key.replace(b"t", part), "translate": lambda key, part: key.translate(part),
    "delete": lambda key, part: key.translate(None, part), "join": lambda key, part: key.join([b"a", part, b"b"]),
    "addition": lambda key, part: key + part,
}  # fmt: skip
IN_THE_MIDDLE = {f"{name} by number": use for name, use in BY_INDEX.items()}
if sys.version_info >= (3, 12):
    IN_THE_MIDDLE |= {
        f"{name} by buffer": lambda key, use=use: use(key, WipingBuffer(key)) for name, use in BY_BUFFER.items()
    }


@pytest.mark.parametrize("use", IN_THE_MIDDLE.values(), ids=IN_THE_MIDDLE)
def test_wiping_in_the_middle_of_a_method_is_a_wiped_error(use):
    key = SecureBytes(SECRET)
    address = capi.address_of(key)
    with pytest.raises(WipedError):
        use(key)
    assert key.wiped
    assert capi.read(address, len(SECRET)) == bytes(len(SECRET))


def test_a_finalizer_that_wipes_while_parts_are_made_ends_the_split():
    """It runs in whichever allocation the collector comes along; from Python 3.12 on, in none."""

    class Trash:
        def __init__(self, key):
            self.key, self.cycle = key, self

        def __del__(self):
            self.key.wipe()

    text = b"part " * 2_000
    before = gc.get_threshold()
    ended = 0
    try:
        for method in (SecureBytes.split, SecureBytes.rsplit, lambda key: key.split(b" "), lambda key: key.rsplit(b" "),
                       lambda key: key.replace(b" ", b"\n").splitlines()):  # fmt: skip
            key = SecureBytes(text)
            gc.collect()
            gc.set_threshold(100, 1, 1)
            Trash(key)
            try:
                parts = method(key)
                assert b" ".join(parts).split() == text.split()
            except WipedError:
                ended += 1
    finally:
        gc.set_threshold(*before)
    assert ended >= 3 if sys.version_info < (3, 12) else ended == 0


def test_a_needle_that_is_the_object_itself_or_a_view_of_it_is_as_any_other():
    key = SecureBytes(SECRET)
    view = memoryview(key)[3:9]
    assert key.find(key) == key.rfind(key) == 0
    assert key.find(view) == SECRET.find(SECRET[3:9])
    assert [bytes(part) for part in key.split(view)] == SECRET.split(SECRET[3:9])
    assert key.replace(key, key + key) == SECRET * 2
    assert key.join([key, key]) == SECRET * 3
    assert key.translate(None, key) == b""
    assert key.strip(key) == b""
    assert key + key == SECRET * 2


def test_a_list_that_contains_itself_is_no_item():
    endless = [b"a"]
    endless.append(endless)
    with pytest.raises(TypeError, match="sequence item 1: expected a bytes-like object, list found"):
        SecureBytes(b",").join(endless)


def test_join_takes_what_the_iterable_had_at_first():
    key, items = SecureBytes(b","), [b"a", b"b", b"c"]

    class Emptying(list):
        pass

    def emptied():
        yield b"a"
        items.clear()
        yield b"b"

    assert key.join(emptied()) == b"a,b"
    assert items == []
    assert key.join(Emptying([b"a"])) == b"a"


# --- sizes that no machine has ---


@pytest.mark.parametrize(
    "use",
    [
        lambda key: key * 2**40, lambda key: 2**62 * key, lambda key: key * (2**63 - 1), lambda key: key.ljust(2**40),
        lambda key: key.rjust(2**63 - 1), lambda key: key.center(2**62), lambda key: key.zfill(2**62),
    ],
)  # fmt: skip
def test_an_absurd_result_is_a_memory_error_of_ours(use):
    key = SecureBytes(SECRET)
    with pytest.raises(AllocationError, match="no secret memory"):
        use(key)
    assert key == SECRET


def test_a_result_whose_size_no_machine_word_holds_is_an_overflow_error():
    key = SecureBytes(SECRET)
    with pytest.raises(OverflowError):
        key * 2**63
    with pytest.raises(OverflowError):
        SecureBytes(b"\t" * 10).expandtabs(2**31)
    big = SecureBytes(1 << 20)
    with pytest.raises(MemoryError):
        big.replace(b"", big)  # 2**40
    with pytest.raises(MemoryError):
        big.join([b""] * (1 << 20))


# --- threads ---


@pytest.mark.parametrize("use", [USES[name] for name in ("split", "find", "replace", "join", "hex", "upper")])
def test_one_thread_s_wipe_leaves_another_with_the_result_or_an_error(use):
    """Whole or not at all: never a part of it, nor zeros."""
    expected = use(SecureBytes(SECRET))
    wrong, seen = [], set()

    def work(i):
        while not wrong and len(seen) < 2:
            key = keys[0]
            if i == 0:
                keys[0] = SecureBytes(SECRET)
                key.wipe()
                continue
            try:
                got = use(key)
            except WipedError:
                seen.add("refused")
                continue
            seen.add("done")
            if got != expected:
                wrong.append(got)

    keys = [SecureBytes(SECRET)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        in_threads(3, work)
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


@pytest.mark.parametrize(
    "use", ["key.replace(b'ab', b'')", "key.replace(b'ab', b'cdef')", "key.expandtabs()", "key.translate(None, b'a')"]
)
def test_what_is_read_into_it_meanwhile_without_the_gil_writes_nothing_behind_the_result(use):
    """These look at the bytes twice: for the result's size, and for the result. Its content is of any kind then: a size
    that neither pattern has. Where two processors are one core's, reads and uses may do no more than take turns."""
    succeed(
        """
        import os, sys, threading, time, secalloc
        size, done = 1 << 18, threading.Event()
        files = []
        for pattern in (b"ab\\t.", b"cdef"):
            files.append(os.memfd_create("pattern"))
            os.write(files[-1], pattern * (size // 4))
        key = secalloc.SecureBytes(size)
        use = compile(sys.argv[1], "use", "eval")
        def read():
            while not done.is_set():
                for file in files:
                    os.preadv(file, [key], 0)
        thread = threading.Thread(target=read)
        thread.start()
        sizes, uses = set(), 0
        until = time.monotonic() + 15
        # On, where the other thread has had no turn.
        while uses < 300 or len(sizes) <= 2 and uses < 10_000 and time.monotonic() < until:
            sizes.add(len(eval(use)))
            uses += 1
        done.set()
        thread.join()
        assert len(sizes) >= 2, "nothing was read"
        assert secalloc.stats().live == 1
        """,
        use,
    )
