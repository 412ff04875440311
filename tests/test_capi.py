"""Layer 3: the public C API keeps malloc's contracts, and the statistics add up."""
import errno
import random
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import capi, maps
from support.children import succeed
from support.fixtures import nothing_leaks  # noqa: F401
from support.threads import in_threads

from secalloc import Heap, SecureBytes
from secalloc_ext.heapobject import DEFAULT, slot_bytes

SIZES = [0, 1, 8, 15, 16, 24, 32, 100, 128, 1_000, 4_096, 16_392, 16_393, 20_000, 131_072, 500_000]
ABSURD = [2**40, 2**47, 2**62, 2**63 - 1, 2**63, capi.SIZE_MAX - 4096, capi.SIZE_MAX - 8, capi.SIZE_MAX]


@pytest.fixture
def made():
    """A list whose pointers are freed at the end."""
    pointers = []
    yield pointers
    for pointer in pointers:
        capi.free(pointer)


def assert_adds_up(stats):
    """The accounting equation of HeapStats."""
    assert stats.committed == (
        stats.slab_bytes + stats.piece_bytes_free + stats.large_committed_live + stats.large_committed_free
    )
    assert stats.committed <= stats.committed_peak
    assert stats.live == stats.slots_live + stats.large_live
    assert stats.live_bytes == stats.slot_bytes_live + stats.large_bytes_live <= stats.committed


# --- malloc's contracts ---


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("malloc", "void *(size_t)"),
        ("calloc", "void *(size_t, size_t)"),
        ("realloc", "void *(void *, size_t)"),
        ("free", "void (void *)"),
        ("usable_size", "size_t (void *)"),
        ("owns", "int (void *)"),
        ("aligned_alloc", "void *(size_t, size_t)"),
        ("guarded_alloc", "void *(size_t)"),
        ("protect", "int (void *, int)"),
    ],
)
def test_each_function_has_a_capsule_that_states_its_signature(name, signature):
    assert capi.signature(name) == signature


@pytest.mark.parametrize("size", SIZES)
def test_malloc_answers_zeroed_secret_memory_aligned_to_sixteen_bytes(size, made):
    made += [capi.malloc(size) for _ in range(10)]
    assert len(set(made)) == 10
    for pointer in made:
        assert pointer % 16 == 0
        assert capi.owns(pointer)
        assert capi.usable_size(pointer) == size
        assert capi.read(pointer, size) == bytes(size)
        capi.write(pointer, b"\xff" * size)


@pytest.mark.parametrize("size", SIZES)
def test_memory_that_was_written_and_freed_comes_back_zeroed(size):
    seen = set()
    for _ in range(300):
        pointer = capi.malloc(size)
        seen.add(pointer)
        assert capi.read(pointer, size) == bytes(size)
        capi.write(pointer, b"\xff" * size)
        capi.free(pointer)
    assert len(seen) < 300 or size < 100  # the control: addresses do come back


def test_objects_of_size_zero_are_unique_and_not_null(made):
    made += [capi.malloc(0) for _ in range(1_000)]
    assert None not in made
    assert len(set(made)) == 1_000


def test_live_objects_never_overlap(made):
    rng = random.Random(1)
    made += [capi.malloc(rng.choice(SIZES[:13])) for _ in range(2_000)]
    spans = sorted((pointer, pointer + capi.usable_size(pointer)) for pointer in made)
    assert all(end <= following for (_, end), (following, _) in pairwise(spans))


def test_null_can_be_freed_and_has_no_size_and_no_owner():
    capi.free(None)
    assert capi.usable_size(None) == 0
    assert capi.owns(None) == 0


@pytest.mark.parametrize("size", ABSURD)
def test_an_absurd_size_is_null_with_enomem(size):
    before = DEFAULT.stats().committed_peak
    assert capi.errno_of(capi.malloc, size) == errno.ENOMEM
    assert capi.errno_of(capi.calloc, 1, size) == errno.ENOMEM
    assert capi.errno_of(capi.aligned_alloc, 4096, size) == errno.ENOMEM
    assert DEFAULT.stats().committed_peak == before


def test_an_absurd_realloc_is_null_and_leaves_the_object_as_it_was(made):
    for size in (32, 50_000):
        made.append(capi.malloc(size))
        capi.write(made[-1], b"k" * size)
        for absurd in ABSURD:
            assert capi.errno_of(capi.realloc, made[-1], absurd) == errno.ENOMEM
        assert capi.usable_size(made[-1]) == size
        assert capi.read(made[-1], size) == b"k" * size


@pytest.mark.parametrize(
    ("n", "size"), [(2**32, 2**32), (2**63, 2), (2, 2**63), (capi.SIZE_MAX, 2), (3, capi.SIZE_MAX // 2)]
)
def test_calloc_whose_product_overflows_is_null_with_enomem(n, size):
    assert n * size > capi.SIZE_MAX
    assert capi.errno_of(capi.calloc, n, size) == errno.ENOMEM


@pytest.mark.parametrize(("n", "size"), [(0, 0), (0, 100), (100, 0), (10, 10), (1_000, 1_000), (1, 16_393)])
def test_calloc_answers_the_product_of_its_arguments_zeroed(n, size, made):
    made.append(capi.calloc(n, size))
    assert capi.usable_size(made[0]) == n * size
    assert capi.read(made[0], n * size) == bytes(n * size)


@pytest.mark.parametrize("alignment", [1 << shift for shift in range(21)])
@pytest.mark.parametrize("size", [0, 1, 100, 20_000])
def test_aligned_alloc_answers_zeroed_memory_at_a_multiple_of_the_alignment(alignment, size, made):
    made += [capi.aligned_alloc(alignment, size) for _ in range(5)]
    assert len(set(made)) == 5
    for pointer in made:
        assert pointer % max(alignment, 16) == 0
        assert capi.usable_size(pointer) == size
        assert capi.read(pointer, size) == bytes(size)
        capi.write(pointer, b"\xff" * size)


@pytest.mark.parametrize("alignment", [0, 3, 12, 17, 48, 4097, 2**63 + 1, capi.SIZE_MAX])
def test_an_alignment_that_is_no_power_of_two_is_null_with_einval(alignment):
    assert capi.errno_of(capi.aligned_alloc, alignment, 32) == errno.EINVAL


@pytest.mark.parametrize("alignment", [2**41, 2**62, 2**63])
def test_an_alignment_beyond_the_address_space_is_null_with_enomem(alignment):
    assert capi.errno_of(capi.aligned_alloc, alignment, 32) == errno.ENOMEM


def test_owns_tells_secret_addresses_from_others(made):
    made.append(capi.malloc(100))
    assert capi.owns(made[0])
    assert capi.owns(made[0] + 99)
    assert not capi.owns(id(made))
    assert not capi.owns(capi.SIZE_MAX)


# --- realloc ---


def test_realloc_of_null_is_malloc(made):
    made.append(capi.realloc(None, 77))
    assert capi.usable_size(made[0]) == 77


@pytest.mark.parametrize("old", SIZES)
@pytest.mark.parametrize("new", SIZES)
def test_realloc_keeps_the_content_and_zeroes_what_is_new(old, new, made):
    content = bytes(i % 255 + 1 for i in range(old))
    pointer = capi.malloc(old)
    capi.write(pointer, content)
    made.append(capi.realloc(pointer, new))
    assert capi.usable_size(made[0]) == new
    assert capi.read(made[0], new) == content[:new] + bytes(max(new - old, 0))


def test_realloc_zeroes_what_is_new_after_shrinking_too(made):
    """What was cut off must not come back when the object grows again in its slot."""
    for size in (100, 60_000):
        pointer = capi.malloc(size)
        capi.write(pointer, b"\xff" * size)
        made.append(capi.realloc(capi.realloc(pointer, size - 20), size))
        assert capi.read(made[-1], size) == b"\xff" * (size - 20) + bytes(20)


def test_realloc_wipes_the_block_it_leaves(made):
    pointer = capi.malloc(32)
    capi.write(pointer, b"secret" + b"x" * 26)
    assert capi.read(pointer, 6) == b"secret"
    made.append(capi.realloc(pointer, 10_000))
    assert made[0] != pointer
    assert capi.read(pointer, 32) == bytes(32)
    assert capi.read(made[0], 6) == b"secret"


def test_what_realloc_cuts_off_is_not_left_behind_the_object(made):
    for size in (100, 60_000):
        pointer = capi.malloc(size)
        capi.write(pointer, b"S" * size)
        made.append(capi.realloc(pointer, size - 16))
        assert made[-1] == pointer  # in place, or there is nothing to see here
        # Not b"S" alone: one byte of the canary may be that by chance.
        assert b"SSS" not in capi.read(pointer + size - 16, 16)


# --- a model ---


class Model:
    """A Python dict that knows what the heap should hold."""

    def __init__(self):
        self.live = {}
        self.serial = 0

    def content(self, size):
        self.serial += 1
        return (self.serial.to_bytes(4, "little") * (size // 4 + 1))[:size]

    def add(self, pointer, size):
        assert pointer is not None
        assert pointer not in self.live
        assert capi.read(pointer, size) == bytes(size)
        self.fill(pointer, size)

    def fill(self, pointer, size):
        self.live[pointer] = self.content(size)
        capi.write(pointer, self.live[pointer])

    def pick(self, choice):
        return list(self.live)[choice % len(self.live)]

    def malloc(self, size, _):
        self.add(capi.malloc(size), size)

    def calloc(self, size, choice):
        n = choice % 5 + 1
        self.add(capi.calloc(n, size // n), size // n * n)

    def aligned_alloc(self, size, choice):
        alignment = 1 << choice % 14
        self.add(capi.aligned_alloc(alignment, size), size)

    def free(self, _, choice):
        if self.live:
            pointer = self.pick(choice)
            assert capi.read(pointer, len(self.live[pointer])) == self.live.pop(pointer)
            capi.free(pointer)

    def realloc(self, size, choice):
        if self.live:
            pointer = self.pick(choice)
            old = self.live.pop(pointer)
            moved = capi.realloc(pointer, size)
            assert capi.read(moved, size) == old[:size] + bytes(max(size - len(old), 0))
            assert moved not in self.live
            self.fill(moved, size)

    def trim(self, _, choice):
        if choice % 20 == 0:
            DEFAULT.trim()

    def check(self, before):
        stats = DEFAULT.stats()
        assert stats.live == before.live + len(self.live)
        assert stats.live_bytes == before.live_bytes + sum(map(len, self.live.values()))
        assert_adds_up(stats)
        assert DEFAULT.is_valid()

    def clear(self):
        while self.live:
            self.free(0, 0)


OPERATIONS = st.tuples(
    st.sampled_from(["malloc", "malloc", "calloc", "aligned_alloc", "free", "free", "realloc", "trim"]),
    st.one_of(st.integers(0, 200), st.integers(0, 17_000), st.sampled_from(SIZES), st.integers(0, 200_000)),
    st.integers(0, 10**6),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(OPERATIONS, max_size=60))
def test_any_sequence_of_calls_does_what_a_plain_model_does(operations):
    before = DEFAULT.stats()
    model = Model()
    try:
        for name, size, choice in operations:
            getattr(model, name)(size, choice)
        model.check(before)
    finally:
        model.clear()
    model.check(before)


def test_thousands_of_mixed_calls_do_what_a_plain_model_does():
    rng = random.Random(2)
    names = ["malloc"] * 5 + ["calloc", "aligned_alloc"] + ["free"] * 6 + ["realloc"] * 3 + ["trim"]
    before = DEFAULT.stats()
    model = Model()
    for i in range(10_000):
        size = rng.choice((rng.randrange(100), rng.randrange(2_000), rng.randrange(40_000)))
        getattr(model, rng.choice(names))(size, rng.randrange(10**6))
        if i % 1_000 == 999:
            model.check(before)
    model.clear()
    model.check(before)


@pytest.mark.parametrize("size", [0, 32, 16_392, 16_393, 300_000])
def test_a_heap_with_a_damaged_canary_is_not_valid(size, made):
    made.append(capi.malloc(size))
    for at in (size, size + 7):
        capi.spoil(made[0] + at)
        assert not DEFAULT.is_valid()
        capi.spoil(made[0] + at)  # undone
        assert DEFAULT.is_valid()


@pytest.mark.parametrize("access", [capi.NOACCESS, capi.READONLY, capi.READWRITE])
@pytest.mark.parametrize("locked", [False, True])
def test_a_heap_with_a_damaged_canary_before_a_guarded_object_is_not_valid(access, locked, made):
    made.append(capi.guarded_alloc(100))
    capi.spoil(made[0] - 1)
    assert capi.protect(made[0], access) == 0
    if locked:
        DEFAULT.lock()
    assert not DEFAULT.is_valid()
    DEFAULT.unlock()
    assert capi.protect(made[0], capi.READWRITE) == 0
    capi.spoil(made[0] - 1)
    assert DEFAULT.is_valid()


# --- statistics and release ---


@pytest.mark.parametrize("size", SIZES)
def test_statistics_count_live_objects_and_their_bytes_exactly(size):
    heap = Heap("counted")
    keep = [SecureBytes(size, heap=heap) for _ in range(12)]
    stats = heap.stats()
    small = slot_bytes(size) is not None
    assert (stats.slots_live, stats.large_live) == ((12, 0) if small else (0, 12))
    assert stats.live_bytes == 12 * size
    assert_adds_up(stats)
    del keep[:5]
    assert (heap.stats().live, heap.stats().live_bytes) == (7, 7 * size)
    keep.clear()
    assert (heap.stats().live, heap.stats().live_bytes) == (0, 0)
    assert_adds_up(heap.stats())


def test_trim_gives_every_secret_mapping_back():
    succeed(
        """
        import secalloc
        from secalloc_ext.heapobject import DEFAULT
        from support import capi, maps
        pointers = [capi.malloc(size) for size in (1, 100, 1_000, 16_000, 20_000) * 150]
        assert len(maps.secret_mappings()) > 150
        for pointer in pointers[:-1]:
            capi.free(pointer)
        DEFAULT.trim()
        assert [each for each in maps.secret_mappings() if not each.start <= pointers[-1] < each.end] == []
        capi.free(pointers[-1])
        DEFAULT.trim()
        assert maps.secret_mappings() == []
        stats = DEFAULT.stats()
        assert (stats.committed, stats.chunks, stats.live) == (0, 0, 0)
        assert secalloc.SecureBytes(b"again") == b"again"
        """
    )


def test_heaps_share_no_page():
    one, other = Heap("one"), Heap("other")
    keep = [SecureBytes(size, heap=heap) for size in SIZES[1:] for heap in (one, other) for _ in range(3)]
    pages = {one: set(), other: set()}
    for key in keep:
        pages[key.heap].add(maps.mapping_at(capi.address_of(key)).start)
    assert pages[one].isdisjoint(pages[other])
    assert len(pages[one]) > 1
    del keep[::2], key
    assert one.stats().live + other.stats().live == len(keep)


def test_wiping_one_heap_s_objects_leaves_the_other_heap_alone():
    one, other = Heap("one"), Heap("other")
    kept = SecureBytes(b"kept", heap=other)
    for _ in range(100):
        SecureBytes(b"dropped", heap=one).wipe()
    one.trim()
    assert one.stats().committed == 0
    assert kept == b"kept"
    assert other.stats().live == 1


def test_objects_outlive_the_handle_of_their_heap():
    heap = Heap("short")
    key = SecureBytes(b"lives", heap=heap)
    del heap
    more = [Heap(str(i)) for i in range(10)]
    assert key == b"lives"
    assert key.heap.name == "short"
    assert all(each.stats().live == 0 for each in more)


# --- threads ---


def test_an_object_may_be_freed_by_another_thread():
    pointers = [[] for _ in range(8)]

    def allocate(i):
        pointers[i] += [capi.malloc(size) for size in (1, 50, 500, 2_000, 20_000) * 20]

    def free_the_next_one_s(i):
        for pointer in pointers[(i + 1) % 8]:
            capi.free(pointer)

    in_threads(8, allocate)
    assert len({pointer for each in pointers for pointer in each}) == 8 * 100
    assert DEFAULT.is_valid()
    in_threads(8, free_the_next_one_s)


def test_threads_never_get_the_same_object():
    def work(i):
        rng = random.Random(i)
        mine = {}
        mark = bytes([i + 1])
        for _ in range(2_000):
            size = rng.choice((1, 30, 200, 3_000, 20_000))
            pointer = capi.malloc(size)
            assert capi.read(pointer, size) == bytes(size)
            capi.write(pointer, mark * size)
            mine[pointer] = size
            if len(mine) > 50:
                pointer, size = mine.popitem() if rng.random() < 0.5 else (next(iter(mine)), None)
                size = mine.pop(pointer, size)
                assert capi.read(pointer, size) == mark * size
                capi.free(pointer)
        for pointer in mine:
            capi.free(pointer)

    in_threads(6, work)


def test_a_thread_that_ends_leaves_its_cache_to_the_next():
    in_threads(1, lambda i: capi.free(capi.malloc(32)))
    caches = DEFAULT.stats().caches
    for _ in range(50):
        in_threads(1, lambda i: capi.free(capi.malloc(32)))
    assert DEFAULT.stats().caches == caches


def test_slots_taken_by_a_thread_are_free_again_when_it_ends():
    heap = Heap("threads")
    in_threads(4, lambda i: SecureBytes(32, heap=heap))
    stats = heap.stats()
    assert stats.slots_taken == 0
    assert stats.slots_free > 0
    heap.trim()
    assert heap.stats().committed == 0


def test_an_error_belongs_to_the_thread_that_got_it():
    def fail(i):
        assert capi.errno_of(capi.malloc, ABSURD[0]) == errno.ENOMEM

    in_threads(3, fail)
    capi.free(capi.malloc(1))
