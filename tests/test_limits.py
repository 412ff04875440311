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
