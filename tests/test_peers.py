"""What the tests of other allocators of secrets do, where no other file of ours does it: see `docs/TESTING.md`."""
import random

import pytest
from support import capi
from support.fixtures import nothing_leaks  # noqa: F401
from support.threads import in_threads

from secalloc import Heap, HeapLimitError, SecureBytes

ORDERS = {
    "as made": lambda keys: keys,
    "backwards": lambda keys: keys[::-1],
    "haphazardly": lambda keys: random.Random(4).sample(keys, len(keys)),
}


def fill(heap, sizes):
    """Objects until the heap is full, or there are no more sizes."""
    keys = []
    try:
        for size in sizes:
            keys.append(SecureBytes(size, heap=heap))
    except HeapLimitError:
        assert heap.stats().committed <= heap.limit
    return keys


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [16, 1_024, 20_000])
def test_a_full_heap_is_empty_when_all_is_dropped_and_can_be_filled_again(size, order):
    """Bitcoin Core sweeps an arena of a MiB so, with objects of a KiB."""
    heap = Heap("swept", limit="1 MiB")
    counts = []
    for _ in range(3):
        keys = fill(heap, [size] * 70_000)
        counts.append(len(keys))
        with pytest.raises(HeapLimitError):
            SecureBytes(size, heap=heap)
        keys = ORDERS[order](keys)
        while keys:
            keys.pop()
        assert (heap.stats().live, heap.stats().live_bytes) == (0, 0)
        heap.trim()
        assert (heap.stats().committed, heap.stats().chunks) == (0, 0)
        assert heap.is_valid()
    assert len(set(counts)) == 1
    assert counts[0] * size > 0.4 * heap.limit


@pytest.mark.parametrize("order", ORDERS)
def test_objects_of_2048_sizes_are_dropped_in_any_order(order):
    heap = Heap("unequal", limit="1 MiB")
    keys = fill(heap, range(1, 2_049))
    assert 0 < len(keys) < 2_048  # not all get room
    keys = ORDERS[order](keys)
    while keys:
        keys.pop()
    assert heap.stats().live == 0
    heap.trim()
    assert heap.stats().committed == 0


def test_28_objects_of_512_bytes_fit_into_16_kib_and_2_kib_more_do_not():
    """libgcrypt's pool."""
    heap = Heap("pool", limit="16 KiB")
    keys = fill(heap, [512] * 28)
    assert len(keys) == 28
    with pytest.raises(HeapLimitError, match="2048 bytes"):
        SecureBytes(2_048, heap=heap)
    keys.clear()
    assert len(SecureBytes(2_048, heap=heap)) == 2_048


def test_a_heap_without_a_limit_grows_beyond_its_first_pages():
    """libgcrypt's overflow pools."""
    heap = Heap("grows")
    keys = fill(heap, [512] * 28)
    first = heap.stats().committed
    keys += fill(heap, [512] * 122)
    assert len(keys) == 150
    assert heap.stats().committed > first


def test_a_limit_below_one_page_admits_nothing_and_harms_nothing():
    """OpenSSL's secure heap of 16 bytes."""
    heap = Heap("tiny", limit=16)
    for size in (0, 16, 100_000):
        with pytest.raises(HeapLimitError):
            SecureBytes(size, heap=heap)
    assert heap.stats().committed == 0
    assert heap.is_valid()
    assert SecureBytes(b"elsewhere") == b"elsewhere"


def test_an_array_that_grows_by_half_again_and_again_keeps_its_content():
    """hardened_malloc's large_array_growth."""
    p, size = None, 64 * 1024
    for i in range(1, 10):
        p = capi.realloc(p, size)
        old = size * 2 // 3 if i > 1 else 0
        assert capi.read(p, old) == bytes([i - 1]) * old
        assert capi.read(p + old, size - old) == bytes(size - old)
        capi.write(p, bytes([i]) * size)
        size = size * 3 // 2 // 3 * 3
    capi.free(p)


def test_a_thread_whose_first_call_is_realloc_may_move_and_free_another_s_object():
    """hardened_malloc's realloc_init."""
    p = capi.realloc(None, 12)
    capi.write(p, b"twelve bytes")

    def move(_):
        q = capi.realloc(p, 1_024)
        assert capi.read(q, 13) == b"twelve bytes\0"
        capi.free(q)

    in_threads(1, move)


def test_a_live_object_of_size_0_shares_its_address_with_none_that_follows():
    """hardened_malloc's malloc_noreuse."""
    p = capi.malloc(0)
    for _ in range(512):
        for size in (0, 8, 64):
            q = capi.malloc(size)
            assert q != p
            capi.free(q)
    capi.free(p)
