"""How much of a limit can be used, under either backend: of the default RLIMIT_MEMLOCK, 8 MiB, and of a heap's own."""
from itertools import permutations

import pytest
from support import growth
from support.children import succeed

from secalloc import Heap, HeapLimitError, SecureBytes

LIMIT = 8 << 20
ROUGHLY = 304 << 10  # an object of any kind: what may be left over
AS_ORDINARY_USER = f"""
import sys, threading, secalloc
from secalloc import Heap, SecureBytes
from secalloc_ext.heapobject import DEFAULT
from support import capi, growth, hostile, maps
secalloc.configure(backend=sys.argv[1], hardening=sys.argv[2])
make, make_other = (growth.KINDS[kind]() for kind in sys.argv[3:])  # while the interpreter can be read
hostile.become_ordinary_user()
hostile.limit("RLIMIT_MEMLOCK", {LIMIT})

def secrets():
    live = []
    while (p := capi.malloc(32)) is not None:
        live.append(p)
    return live

def used_whole(heap, largest):
    stats = heap.stats()
    assert {LIMIT} - largest <= stats.committed <= {LIMIT}, stats
"""


@pytest.fixture(params=["secretmem", "mlock"])
def backend(request):
    return request.param


@pytest.fixture(params=["fast", "full"])
def hardening(request):
    return request.param


def as_ordinary_user(code, backend, hardening="fast", kind="small", other="small"):
    succeed(AS_ORDINARY_USER + code, backend, hardening, kind, other)


@pytest.mark.parametrize("guarded", [False, True])
def test_one_lone_key_is_charged_at_most_64_kib(backend, hardening, guarded):
    as_ordinary_user(
        f"""
key = SecureBytes.random(32, guarded={guarded})
charged = sum(each.end - each.start for each in maps.secret_mappings())
assert 0 < charged == secalloc.stats().committed <= 64 << 10, secalloc.stats()
""",
        backend, hardening,
    )  # fmt: skip


def test_150_000_secrets_of_32_bytes_fit_and_the_heap_goes_on_after_the_last(backend, hardening):
    as_ordinary_user(
        """
live = secrets()
assert len(live) >= 150_000, len(live)
assert secalloc.stats().live == len(live)
for p in live[::2]:
    capi.free(p)
again = secrets()
assert len(again) >= len(live) // 2
for p in [*live[1::2], *again]:
    capi.free(p)
assert secalloc.stats().live == 0 and len(SecureBytes(4 << 20)) == 4 << 20
""",
        backend, hardening,
    )  # fmt: skip


def test_150_000_secrets_fit_after_objects_of_every_size(backend, hardening):
    """The slabs that a thread has of other sizes, from which it allocates at present, must not be kept from it."""
    as_ordinary_user(
        """
import secalloc.numpy as snp
del (keys := [SecureBytes(size) for size in range(1, 17_000, 40)])[:]
del (keys := [snp.zeros(size, "u1") for size in range(1, 17_000, 40)])[:]
assert secalloc.stats().live == 0 and secalloc.stats().slabs > 50
live = secrets()
assert len(live) >= 150_000, (len(live), secalloc.stats())
""",
        backend, hardening, "array",
    )  # fmt: skip


@pytest.mark.parametrize("size", [32, 1_000, 16_000, 50_000, 200_000, 3_000_000])
def test_objects_of_every_size_use_the_whole_limit_and_go_on_after_frees(backend, size):
    as_ordinary_user(
        f"""
size, live = {size}, []
live, error = growth.grow(lambda heap: SecureBytes(size), None)
assert type(error) is secalloc.MemlockLimitError and "{LIMIT} bytes" in str(error)
used_whole(DEFAULT, max(size + 4096, 4096))
del live[::2]
half = len(live)
live += growth.grow(lambda heap: SecureBytes(size), None)[0]
assert len(live) >= 2 * half and DEFAULT.is_valid()
""",
        backend,
    )


@pytest.mark.parametrize("kind", growth.KINDS)
def test_objects_of_every_kind_use_the_whole_limit(backend, kind):
    as_ordinary_user(
        f"""
live, error = growth.grow(make, DEFAULT)
assert type(error) is secalloc.MemlockLimitError
used_whole(DEFAULT, {ROUGHLY})
""",
        backend, kind=kind,
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "other"), [
    ("small", "small"), ("small", "large"), ("large", "small"), ("guarded", "large array"), ("array", "guarded"),
])  # fmt: skip
def test_what_one_heap_has_no_use_for_is_for_all_others(backend, kind, other):
    as_ordinary_user(
        f"""
first, second = Heap("first"), Heap("second")
live, error = growth.grow(make, first)
few, error = growth.grow(make_other, second)
assert type(error) is secalloc.MemlockLimitError and second.stats().committed <= {ROUGHLY}
assert growth.untouched(live)
del live[:], few[:]
for heap, make_here in ((second, make_other), (first, make)):
    live, error = growth.grow(make_here, heap)
    assert type(error) is secalloc.MemlockLimitError
    used_whole(heap, {ROUGHLY})
    assert first.is_valid() and second.is_valid()
    del live[:]
""",
        backend, kind=kind, other=other,
    )  # fmt: skip


def test_what_another_thread_left_is_for_all(backend):
    as_ordinary_user(
        """
thread = threading.Thread(target=lambda: growth.grow(make, DEFAULT))
thread.start()
thread.join()
while secalloc.stats().live:  # Python's join does not wait for the thread's destructors
    pass
assert len(growth.grow(make, Heap("other"))[0]) > 10_000
""",
        backend,
    )


@pytest.mark.parametrize("hardening", ["fast", "full"])
@pytest.mark.parametrize(("old", "new"), list(permutations([16, 512, 2_048, 16_000, 40_000], 2)))
def test_what_was_freed_of_one_size_is_room_for_another(old, new, hardening):
    """Slots that the thread keeps at hand, or in quarantine, are no reason to refuse."""
    heap = Heap("small", limit="64 KiB", hardening=hardening)
    for size in (old, new, old):
        keys = []
        with pytest.raises(HeapLimitError):
            keys.extend(SecureBytes(size, heap=heap) for _ in range(5_000))
        assert len(keys) * size > 16_000
        keys.clear()
        assert heap.is_valid()
