"""`Heap.layout`: each mapped piece of a heap, beside what the statistics and the kernel say."""
import pytest
from support import maps
from support.forking import forked

from secalloc import Heap, SecureBytes, stats
from secalloc.holder import address_of
from secalloc_ext.heapobject import layouts

LARGE = 70_000


@pytest.fixture
def heap():
    return Heap("laid out", quarantine_large=0, warm_large=0)


@pytest.fixture
def kept(heap):
    """Objects of every kind; some slots and one large object were freed."""
    keys = [SecureBytes(size, heap=heap) for size in (32, 32, 32, 500, LARGE, LARGE)]
    del keys[4], keys[0]
    return keys


def parts_of(heap, kind):
    return [part for part in heap.layout() if part.kind == kind]


def test_an_unused_heap_has_no_parts():
    assert Heap("unused").layout() == []


def test_the_parts_add_up_to_the_statistics(heap, kept):
    stats = heap.stats()
    slabs = parts_of(heap, "slab")
    assert sum(part.bytes for part in heap.layout()) == stats.committed
    assert len({part.chunk for part in heap.layout()}) == stats.chunks
    assert (len(slabs), sum(part.bytes for part in slabs)) == (stats.slabs, stats.slab_bytes)
    assert sum(part.live for part in slabs) == stats.slots_live == 3
    assert sum(part.taken for part in slabs) == stats.slots_taken > 0
    assert sum(part.bytes for part in parts_of(heap, "piece")) == stats.piece_bytes_free
    assert [(part.slot_bytes, part.slots, part.live) for part in parts_of(heap, "large")] == [(LARGE, 1, 1)]
    assert [part.bytes for part in parts_of(heap, "kept")] == [stats.large_committed_free] == [18 * 4096]


def test_each_part_is_a_mapping_between_guards(heap, kept):
    """The large object's mapping begins where its part does: that tells the reservation's address."""
    [large] = parts_of(heap, "large")
    base = maps.mapping_at(address_of(kept[-1])).start - large.start
    for part in heap.layout():
        first, end = base + part.start, base + part.start + part.bytes
        assert (maps.mapping_at(first).start, maps.mapping_at(end - 1).end) == (first, end)
        assert maps.mapping_at(first).is_secret
        assert not any(maps.mapping_at(beside).is_secret for beside in (first - 1, end))
        assert part.start // (128 << 10) == part.frame >= part.chunk


def test_an_object_lies_in_the_slab_that_counts_it(heap, kept):
    [large] = parts_of(heap, "large")
    base = maps.mapping_at(address_of(kept[-1])).start - large.start
    for size, live in ((32, 2), (500, 1)):
        [key, *_] = [key for key in kept if len(key) == size]
        offset = address_of(key) - base
        [slab] = [part for part in parts_of(heap, "slab") if part.start <= offset < part.start + part.bytes]
        assert slab.live == live
        assert (offset - slab.start) % slab.slot_bytes == 0
        assert slab.slots == slab.bytes // slab.slot_bytes


def test_empty_slabs_become_pieces_and_trimmed_nothing_is_left(heap, kept):
    kept.clear()
    assert all(part.live == 0 for part in heap.layout())
    heap.trim()
    assert heap.layout() == []


def test_a_locked_heap_can_be_laid_out(heap, kept):
    before = heap.layout()
    heap.lock()
    assert [part.live for part in heap.layout()] == [part.live for part in before]
    heap.unlock()


def test_every_heap_with_pages_is_among_all_and_a_lost_handle_too():
    key, lost = SecureBytes(16), SecureBytes(16, heap=Heap("handle lost"))
    empty = Heap("empty")
    told = dict(layouts())
    assert sum(part.bytes for part in told["default"]) == stats().committed
    assert [part.live for part in told["handle lost"]] == [1]
    assert empty.name not in told
    del key, lost


def test_a_forked_child_has_its_own_only(heap, kept):
    def child():
        assert heap.name not in dict(layouts())
        assert heap.layout() == []
        SecureBytes(16, heap=heap)
        assert [part.kind for part in dict(layouts())[heap.name]] == ["slab"]

    forked(child)
