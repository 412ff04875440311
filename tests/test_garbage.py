"""Objects that the garbage collector knows: those in cycles it takes apart in an order of its own."""
import fcntl
import gc
import os
import struct
import termios
import threading
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


def secrets_known():
    return {id(known) for known in gc.get_objects() if isinstance(known, SecureBytes)}


def test_what_is_being_read_without_the_gil_is_known_to_nobody():
    """A thread that got hold of it could wipe it, and the read go on into memory that is another object's by then."""
    before = secrets_known()
    reading, writing = os.pipe()
    read = []
    thread = threading.Thread(target=lambda: read.append(SecureBytes.from_file(reading)))
    thread.start()
    os.write(writing, b"begun")
    while struct.unpack("i", fcntl.ioctl(reading, termios.FIONREAD, b"    "))[0] > 0:
        pass
    assert secrets_known() <= before
    os.close(writing)
    thread.join()
    os.close(reading)
    assert read == [b"begun"]
    assert secrets_known() - before == {id(read[0])}  # the control: in the end it is known
    assert gc.is_tracked(SecureBytes.random(8))
