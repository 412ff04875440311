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


@pytest.mark.parametrize(("operation", "size"), [("key[4:12]", 8), ("key[::2]", 20), ("key.copy()", 40),
                                                 ("SecureBytes(plain)", 40)])  # fmt: skip
def test_a_finalizer_that_runs_in_the_middle_of_an_operation_does_no_harm(operation, size):
    """Python 3.11 collects where an object is made: between a look at the source and the copy."""
    children.succeed(f"""
        import gc, sys
        from secalloc import SecureBytes, WipedError
        class Emptying:
            def __init__(self, key, plain):
                self.key, self.plain, self.itself = key, plain, self
            def __del__(self):
                self.key.wipe()
                self.plain[:] = b"!" * 5000
        gc.disable()
        gc.set_threshold(1)
        kept, answers = [], set()
        for _ in range(300):  # some: until no dropped object is there to be made again
            key, plain = SecureBytes(b"s" * 40), bytearray(b"s" * 40)
            kept.append(key)
            Emptying(key, plain)
            gc.enable()
            try:
                made = {operation}
                kept.append(made)
                answers.add(bytes(made))
            except WipedError:
                answers.add(WipedError)
            gc.disable()
        late = b"!" * 5000 if "plain" in "{operation}" else WipedError
        assert answers <= {{b"s" * {size}, late}}, answers
        assert late in answers or sys.version_info >= (3, 12)  # the control: it ran in the middle
        """)


def test_an_object_is_known_to_the_collector_be_it_made_of_a_dropped_one_or_not():
    assert all(gc.is_tracked(key) for key in [SecureBytes(8) for _ in range(300)])
    assert all(gc.is_tracked(key) for key in [SecureBytes(8) for _ in range(300)])


def secrets_known():
    return {id(known) for known in gc.get_objects() if isinstance(known, SecureBytes)}


def test_what_is_being_read_without_the_gil_is_known_to_nobody():
    """A thread that got hold of it could wipe it, and the read go on into memory that is another object's by then."""
    gc.collect()  # no place of a dropped one is taken for a known one's
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
