"""Objects in reference cycles, which the garbage collector takes apart in an order of its own."""
import gc
import weakref

import pytest
from support import children

from secalloc import Heap, SecureBytes


class Holder(Heap):
    """A heap with attributes, as a program may have one: so its objects can refer back to it."""


def cycle(hold):
    """A heap that only its own object keeps alive; `hold` makes the object's part of it."""
    heap = Holder("cycle")
    hold(heap, SecureBytes(32, heap=heap))
    return weakref.ref(heap)


def the_object(heap, key):
    heap.key = key


def a_view(heap, key):
    heap.view = memoryview(key)


def a_block(heap, key):
    heap.block = heap.unlocked()


@pytest.mark.parametrize("hold", [the_object, a_view, a_block])
def test_a_heap_and_what_refers_back_to_it_are_collected(hold):
    gone = cycle(hold)
    assert gone() is not None  # the control: it is a cycle
    gc.collect()
    assert gone() is None


def test_a_view_released_late_in_the_collection_finds_the_heap():
    """The attributes refer to themselves, so that the collector comes to the SecureBytes before the view."""
    children.succeed("""
        import ctypes, gc
        from secalloc import Heap, SecureBytes
        class Holder(Heap): pass
        behind_none = ctypes.string_at(id(None) + 16, 64)  # where a heap that is None has its count of views
        for _ in range(100):
            heap = Holder("cycle")
            heap.view = memoryview(SecureBytes(32, heap=heap))
            heap.itself = heap.__dict__
            del heap
            gc.collect()
        assert ctypes.string_at(id(None) + 16, 64) == behind_none
    """)
