"""Every limit, met when a heap must grow: one exception that names it, nothing lost, and the same heap goes on."""
import errno

import pytest
from support import capi, growth
from support.children import succeed

import secalloc
from secalloc import Heap, SecureBytes

MEMLOCK = "hostile.become_ordinary_user(); hostile.limit('RLIMIT_MEMLOCK', 2 << 20)"
REMEDIES = ("limit is 2097152 bytes", "ulimit -l", "LimitMEMLOCK=", "--ulimit memlock=")
ADDRESS_SPACE = "hostile.limit('RLIMIT_AS', maps.address_space() + (160 << 20))"
# What to do before the heap is made, what to be in when it grows; the exception, and what that must say.
LIMITS = {
    "RLIMIT_MEMLOCK": (MEMLOCK, "nullcontext()", "MemlockLimitError", REMEDIES),
    "RLIMIT_NOFILE": ("", "hostile.NoDescriptorLeft()", "AllocationError", ("descriptor", "ulimit -n")),
    "vm.max_map_count": ("", "hostile.NoMappingLeft()", "AllocationError", ("vm.max_map_count",)),
    "RLIMIT_AS": (ADDRESS_SPACE, "nullcontext()", "AllocationError", ("address space", "RLIMIT_AS")),
    "the heap's": ("options['limit'] = '2 MiB'", "nullcontext()", "HeapLimitError", ("limit is 2097152 bytes",)),
}
MET = [(limit, backend) for limit in LIMITS for backend in ("secretmem", "mlock") if limit != "RLIMIT_NOFILE"]
MET.append(("RLIMIT_NOFILE", "secretmem"))  # the other needs no descriptors: see below
IMPORTS = """
import sys, secalloc
from contextlib import nullcontext
from secalloc import Heap, SecureBytes
from secalloc_ext.heapobject import DEFAULT
from support import capi, growth, hostile, maps
"""


@pytest.fixture(params=["secretmem", "mlock"])
def backend(request):
    return request.param


@pytest.mark.parametrize("kind", growth.KINDS)
@pytest.mark.parametrize(("limit", "backend"), MET)
def test_at_a_limit_nothing_is_lost_and_the_heap_goes_on_after_frees(limit, backend, kind):
    before, during, error, says = LIMITS[limit]
    message = succeed(
        IMPORTS
        + f"""
make, options = growth.KINDS[{kind!r}](), {{}}
{before}
at_start = maps.descriptors(), maps.secret_mappings()
heap = Heap("limited", backend={backend!r}, **options)
live = growth.grow(make, heap, 3)[0]
with {during}:
    more, error = growth.grow(make, heap)
    live += more
    stats = heap.stats()
    assert type(error) is secalloc.{error} and stats.live == len(live)
    more, again = growth.grow(make, heap)
    assert (more, str(again), heap.stats()) == ([], str(error), stats)
    assert growth.untouched(live) and heap.is_valid()
    del live[::2]
    live += growth.grow(make, heap, stats.live - len(live))[0]
    assert len(live) == stats.live and growth.untouched(live) and heap.is_valid()
assert sum(each.end - each.start for each in maps.secret_mappings()) == heap.stats().committed
del live[:]
heap.trim()
assert (maps.descriptors(), maps.secret_mappings()) == at_start
print(error)
"""
    )
    for part in says:
        assert part in message


@pytest.mark.parametrize("kind", growth.KINDS)
@pytest.mark.parametrize(("limit", "backend"), MET)
def test_at_a_limit_the_reservation_has_no_gap_for_others_to_land_in(limit, backend, kind):
    """A mmap(2) over pages that a limit refuses has unmapped them by then."""
    before, during, _, _ = LIMITS[limit]
    succeed(
        IMPORTS
        + f"""
make, options = growth.KINDS[{kind!r}](), {{}}
{before}
heap = Heap("limited", backend={backend!r}, **options)
live = growth.grow(make, heap, 3)[0]
with {during}:
    for _ in range(3):
        more, error = growth.grow(make, heap)
        live += more
        del live[::2]
assert error is not None and not any(map(capi.owns, maps.gaps()))
"""
    )


@pytest.mark.parametrize(("limit", "backend"), MET)
def test_at_a_limit_the_c_api_answers_null_and_errno_and_leaves_what_is_there(limit, backend):
    before, during, _, _ = LIMITS[limit]
    succeed(
        IMPORTS
        + f"""
from support.capi import aligned_alloc, calloc, errno_of, guarded_alloc, malloc, realloc
options = {{}}
{before}
secalloc.configure(backend={backend!r}, **options)
kept = malloc(100)
capi.write(kept, b"kept")
with {during}:
    while malloc(200_000):
        pass
    stats = secalloc.stats()
    for call, *arguments in ((malloc, 200_000), (calloc, 1_000, 200), (realloc, kept, 200_000),
                             (aligned_alloc, 65_536, 200_000), (guarded_alloc, 200_000)):
        assert errno_of(call, *arguments) == {errno.EAGAIN if limit == "RLIMIT_MEMLOCK" else errno.ENOMEM}
    assert secalloc.stats() == stats
assert capi.read(kept, 4) == b"kept" and capi.usable_size(kept) == 100
"""
    )


@pytest.mark.parametrize("kind", growth.KINDS)
def test_mlock_needs_no_descriptors(kind):
    succeed(
        IMPORTS
        + f"""
make, heap = growth.KINDS[{kind!r}](), Heap("locked", backend="mlock")
with hostile.NoDescriptorLeft():
    live, error = growth.grow(make, heap, 1_000)
assert len(live) == 1_000 and error is None
"""
    )


def test_a_memlock_limit_of_zero_is_an_error_that_passes(backend):
    message = succeed(
        IMPORTS
        + """
hostile.become_ordinary_user()
hostile.limit("RLIMIT_MEMLOCK", 0)
heap = Heap("limited", backend=sys.argv[1])
live, error = growth.grow(lambda heap: SecureBytes(32, heap=heap), heap)
assert live == [] and type(error) is secalloc.MemlockLimitError and isinstance(error, MemoryError)
print(error)
hostile.limit("RLIMIT_MEMLOCK", 1 << 20)
assert SecureBytes(b"works", heap=heap).copy() == b"works"
""",
        backend,
    )
    for part in ("32 bytes", "limit is 0 bytes", "this heap has 0 bytes"):
        assert part in message


# --- address space ---


@pytest.mark.parametrize("megabytes", [350, 1_000, 4_000])
def test_a_limited_address_space_gets_a_smaller_reservation(megabytes):
    succeed(
        IMPORTS
        + """
limit = int(sys.argv[1]) << 20
hostile.limit("RLIMIT_AS", limit)
assert SecureBytes(b"works") == b"works"
assert maps.address_space() <= limit
""",
        megabytes,
    )


def test_too_little_address_space_is_an_error_that_says_so_and_passes():
    succeed(
        IMPORTS
        + """
import resource
before = maps.address_space()
hostile.limit("RLIMIT_AS", before + (8 << 20))
for _ in range(5):
    error = growth.grow(SecureBytes, 32)[1]
    assert "address space" in str(error) and "RLIMIT_AS" in str(error), error
assert maps.address_space() < before + (4 << 20), "nothing stays reserved"
hostile.limit("RLIMIT_AS", resource.RLIM_INFINITY)
assert SecureBytes(b"works") == b"works"
"""
    )


def test_a_used_up_reservation_is_used_again_for_objects_of_every_other_size(backend):
    """What is free is in pieces as long as what was there: they are joined, and cut."""
    succeed(
        IMPORTS
        + """
secalloc.configure(backend=sys.argv[1], reservation="64 MiB")
for size in (1_000_000, 3_000_000, 400_000, 10_000_000, 100, 30_000_000, 1_000_000):
    live = growth.grow(lambda heap: SecureBytes(size), None)[0]
    assert len(live) * size > 30_000_000, (size, len(live))
    del live[1::2]  # every second hole
    assert len(SecureBytes(size)) == size
    del live[:]
assert secalloc.stats().live == 0 and DEFAULT.is_valid()
""",
        backend,
    )


def test_a_reservation_is_used_to_its_last_frame(backend):
    succeed(
        IMPORTS
        + """
secalloc.configure(backend=sys.argv[1], reservation="16 MiB")
assert len(growth.grow(lambda heap: SecureBytes(100_000), None)[0]) == 128
""",
        backend,
    )


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_that_is_lowered_below_what_is_in_use_is_named(limit):
    """mmap(2) answers ENOMEM, as at vm.max_map_count. RLIMIT_DATA counts private memory: that of mlock."""
    succeed(
        IMPORTS
        + """
import resource
secalloc.configure(backend="mlock")
capi.free(capi.malloc(1_000_000))  # kept for reuse
kept = SecureBytes(b"kept")
hostile.limit(sys.argv[1], 1 << 20)
results = [capi.errno_of(capi.malloc, 2_000_000) for _ in range(2)]
try:
    SecureBytes(2_000_000)
except secalloc.AllocationError as error:
    hostile.limit(sys.argv[1], resource.RLIM_INFINITY)
    assert sys.argv[1] in str(error), error
assert results == [12, 12] and kept == b"kept"
assert len(SecureBytes(2_000_000)) == 2_000_000
""",
        limit,
    )


def test_a_large_object_in_stock_that_cannot_be_opened_is_no_object_and_no_end():
    """Under mlock its pages count as data again when they become writable, and RLIMIT_DATA may be reached by then."""
    succeed(
        IMPORTS
        + """
import resource
secalloc.configure(backend="mlock")
capi.free(capi.malloc(1_000_000))
assert secalloc.stats().large_free == 1
hostile.limit("RLIMIT_DATA", 1 << 20)
code = capi.errno_of(capi.malloc, 1_000_000)
hostile.limit("RLIMIT_DATA", resource.RLIM_INFINITY)
assert code == 12 and secalloc.stats().live == 0
assert capi.malloc(1_000_000)
"""
    )


# --- one limit, several heaps; one heap, several limits ---


def test_a_heap_s_own_limit_strips_no_other_heap_of_its_stock():
    other, limited = Heap("other"), Heap("limited", limit="64 KiB")
    SecureBytes(300_000, heap=other).wipe()
    stock = other.stats().large_committed_free
    assert stock >= 300_000
    with pytest.raises(secalloc.HeapLimitError):
        SecureBytes(100_000, heap=limited)
    with pytest.raises(secalloc.HeapLimitError):
        [SecureBytes(32, heap=limited) for _ in range(10_000)]
    assert other.stats().large_committed_free == stock


def test_a_size_that_no_machine_has_strips_no_heap_of_its_stock():
    other = Heap("other")
    SecureBytes(300_000, heap=other).wipe()
    assert capi.errno_of(capi.malloc, 1 << 62) == errno.ENOMEM
    assert other.stats().large_free == 1


def test_255_heaps_beside_the_default_one_can_live_at_once_and_closed_ones_make_room():
    succeed(
        """
        import secalloc
        heaps = []
        for _ in range(2):
            try:
                while True:
                    heaps.append(secalloc.Heap(str(len(heaps))))
            except secalloc.AllocationError as error:
                assert "too many heaps" in str(error)
            assert len(heaps) == 255
            del heaps[100:]
        """
    )
