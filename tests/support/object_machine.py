"""SecureBytes in heaps of every kind against a plain model: a bytearray each, and a few words on its protection."""
import os

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition

from secalloc import ForkedError, Heap, HeapLimitError, ProtectedError, SecureBytes, WipedError
from support.forking import forked
from support.steps import step
from support.threads import in_threads

NOACCESS, READONLY, READWRITE = range(3)
ACCESSES = ("noaccess", "readonly", "readwrite")
EDGES = [0, 1, 16, 24, 32, 120, 4_088, 4_096, 16_392, 16_393, 126_977, 300_000]
SIZES = st.one_of(st.integers(0, 300), st.integers(0, 20_000), st.sampled_from(EDGES))
WHICH = st.integers(0, 2**16)
KINDS = st.fixed_dictionaries({
    "on_fork": st.sampled_from(["isolate", "copy"]),
    "backend": st.sampled_from(["secretmem", "mlock"]),
    "hardening": st.sampled_from(["fast", "full"]),
    "limit": st.sampled_from([None, None, "1 MiB"]),
    "retain": st.sampled_from([None, 0]),
    "flush_on_wipe": st.booleans(),
})  # fmt: skip
HEAPS_MAX = 4
BLOCKS_MAX = 3


class Place:
    """What the model knows of one heap. The handle may go before the objects do."""

    def __init__(self, kind):
        self.handle = Heap("machine", **kind)
        self.isolated = kind["on_fork"] == "isolate"
        self.limit = self.handle.limit
        self.locked = False
        self.blocks = []
        self.items = []

    @property
    def heap(self):
        if self.handle is not None:
            return self.handle
        item = self.items[0]
        return (item.views[0].obj if item.key is None else item.key).heap

    @property
    def closed(self):
        return self.locked and not self.blocks

    @property
    def views(self):
        return sum(len(item.views) for item in self.items)


class Item:
    """What the model knows of one SecureBytes. `key` is None when only views of it are left."""

    def __init__(self, key, content, place, guarded):
        self.key = key
        self.content = bytearray(content)
        self.place = place
        self.guarded = guarded
        self.access = self.effective = READWRITE
        self.blocks = []
        self.views = []
        self.wiped = self.forked = False

    def settle(self):
        """Its protection follows its blocks; views hold it open."""
        target = READWRITE if self.blocks else self.access
        if not self.wiped and (not self.views or target > self.effective):
            self.effective = target

    @property
    def holds_a_slot(self):
        return not self.forked and (not self.wiped or self.views)

    @property
    def read_refusal(self):
        """What reading raises; None where it works."""
        if self.wiped:
            return WipedError
        if self.forked:
            return ForkedError
        return ProtectedError if self.place.closed or self.effective == NOACCESS else None

    @property
    def write_refusal(self):
        return self.read_refusal or (ProtectedError if self.effective == READONLY else None)


def works(refusal, call, *arguments):
    """Make a call that works, or raises what the model foresees; tells whether it worked."""
    if refusal is not None:
        with pytest.raises(refusal):
            call(*arguments)
        return False
    call(*arguments)
    return True


def in_pipe(content):
    """A descriptor from which `content` can be read."""
    file = os.memfd_create("content")
    os.write(file, content)
    os.lseek(file, 0, os.SEEK_SET)
    return file


def from_file(content, heap):
    file = in_pipe(content)
    try:
        return SecureBytes.from_file(file, heap=heap)
    finally:
        os.close(file)


WAYS = {
    "zeros": lambda content, heap: SecureBytes(len(content), heap=heap),
    "bytes": lambda content, heap: SecureBytes(content, heap=heap),
    "random": lambda content, heap: SecureBytes.random(len(content), heap=heap),
    "hex": lambda content, heap: SecureBytes.fromhex(content.hex(), heap=heap),
    "take": lambda content, heap: SecureBytes.take(bytearray(content), heap=heap),
    "file": from_file,
    "guarded": lambda content, heap: SecureBytes(content, heap=heap, guarded=True),
}


class ObjectMachine(RuleBasedStateMachine):
    steps_made = 0

    def __init__(self):
        super().__init__()
        self.places = []
        self.serial = 0

    # --- helpers ---

    @property
    def items(self):
        return [item for place in self.places for item in place.items]

    @property
    def keys(self):
        return [item for item in self.items if item.key is not None]

    def place(self, which):
        return self.places[which % len(self.places)]

    def item(self, which):
        return self.keys[which % len(self.keys)]

    def make(self, place, call, guarded=False):
        """Have an object made, unless the heap is locked or full; answers it, or None."""
        if place.closed:
            works(ProtectedError, call)
            return None
        try:
            key = call()
        except HeapLimitError:
            assert place.limit is not None
            return None
        assert key.guarded == guarded
        place.items.append(Item(key, bytes(key), place, guarded))
        return place.items[-1]

    def pattern(self, size):
        self.serial += 1
        return ((self.serial * 2_654_435_761 % 2**32).to_bytes(4, "little") * (size // 4 + 1))[:size]

    def make_one(self, place, size, way="bytes"):
        content = self.pattern(size)
        made = self.make(place, lambda: WAYS[way](content, place.heap), guarded=way == "guarded")
        if made is not None and way != "random":
            assert made.content == (bytes(size) if way == "zeros" else content)

    def let_go(self, item):
        """Drop an object; its views keep it."""
        while item.blocks:
            item.blocks.pop().__exit__(None, None, None)
        item.settle()
        item.key = None
        if not item.views:
            self.forget(item)

    def forget(self, item):
        item.place.items.remove(item)
        self.close_if_unused(item.place)

    def close_if_unused(self, place):
        if place.handle is None and not place.items:
            self.places.remove(place)

    # --- what must hold at every moment ---

    @invariant()
    def every_heap_is_as_the_model_says(self):
        for place in self.places:
            heap = place.heap
            assert heap.is_valid()
            stats = heap.stats()
            slots = [item for item in place.items if item.holds_a_slot]
            assert (stats.live, stats.live_bytes) == (len(slots), sum(len(item.content) for item in slots))
            assert stats.locked == place.locked
            assert place.limit is None or stats.committed <= place.limit

    @invariant()
    def every_object_is_as_the_model_says(self):
        for item in self.items:
            if item.key is not None:
                assert item.key.wiped == item.wiped
                if works(item.read_refusal, len, item.key):
                    assert item.key == item.content
            if not item.forked:
                assert all(view == item.content for view in item.views)

    # --- steps: heaps ---

    @initialize(kinds=st.lists(KINDS, min_size=2, max_size=2), sizes=st.lists(SIZES, min_size=6, max_size=6))
    def begin(self, kinds, sizes):
        self.places += map(Place, kinds)
        for i, size in enumerate(sizes):
            self.make_one(self.place(i), size, sorted(WAYS)[i])

    @precondition(lambda self: len(self.places) < HEAPS_MAX)
    @step(kind=KINDS)
    def make_a_heap(self, kind):
        self.places.append(Place(kind))

    @precondition(lambda self: len(self.places) > 1)
    @step(which=WHICH)
    def drop_a_heap(self, which):
        """But for the first."""
        place = self.places[which % (len(self.places) - 1) + 1]
        if not place.blocks:
            place.handle = None
            self.close_if_unused(place)

    @step(which=WHICH, everything=st.integers(0, 7))
    def trim(self, which, everything):
        self.place(which).heap.trim()
        if everything == 7:
            self.begin_anew()

    @step(which=WHICH)
    def wipe_a_heap(self, which):
        place = self.place(which)
        place.heap.wipe()
        for item in place.items:
            item.content[:] = bytes(len(item.content))

    @step(which=WHICH, shut=st.sampled_from([False, False, True]))
    def lock_or_unlock(self, which, shut):
        place = self.place(which)
        if shut:
            place.locked = works(BufferError if place.views else None, place.heap.lock) or place.locked
        else:
            place.heap.unlock()
            place.locked = False

    @step(which=WHICH, inwards=st.booleans())
    def enter_or_leave_a_heap(self, which, inwards):
        place = self.place(which)
        if inwards and len(place.blocks) < BLOCKS_MAX:
            place.blocks.append(place.heap.unlocked())
            place.blocks[-1].__enter__()
        elif place.blocks:
            place.blocks.pop().__exit__(None, None, None)
            self.close_if_unused(place)

    # --- steps: objects ---

    @step(which=WHICH, sizes=st.lists(SIZES, min_size=1, max_size=4), way=st.sampled_from(sorted(WAYS)))
    def make_objects(self, which, sizes, way):
        for i, size in enumerate(sizes):
            self.make_one(self.place(which + i), size, way)

    @step(which=WHICH, sizes=st.lists(SIZES, min_size=1, max_size=4))
    def make_guarded_objects(self, which, sizes):
        self.make_objects(which=which, sizes=sizes, way="guarded")

    @precondition(lambda self: self.keys)
    @step(which=WHICH)
    def copy(self, which):
        item = self.item(which)
        if works(item.read_refusal, len, item.key):
            made = self.make(item.place, item.key.copy)
            assert made is None or made.content == item.content

    @precondition(lambda self: self.keys)
    @step(which=WHICH, start=WHICH, stop=WHICH, stride=st.sampled_from([1, 1, 2, -1, -3]))
    def slice(self, which, start, stop, stride):
        item = self.item(which)
        size = len(item.content) + 1
        part = slice(start % size, stop % size, stride)
        if works(item.read_refusal, len, item.key):
            made = self.make(item.place, lambda: item.key[part])
            assert made is None or made.content == item.content[part]

    @precondition(lambda self: self.keys)
    @step(which=WHICH, at=WHICH, data=st.binary(min_size=1, max_size=40), inside=st.booleans())
    def write(self, which, at, data, inside):
        item = self.item(which)
        at %= len(item.content) + 1
        data = data[: len(item.content) - at]
        if inside and item.guarded and not item.wiped and not item.forked:
            item.blocks.append(item.key.unlocked())
            item.blocks[-1].__enter__()
            item.settle()
            self.write_here(item, at, data)
            item.blocks.pop().__exit__(None, None, None)
            item.settle()
        else:
            self.write_here(item, at, data)

    def write_here(self, item, at, data):
        try:
            done = works(item.write_refusal, item.key.__setitem__, slice(at, at + len(data)), data)
        except HeapLimitError:  # for the copy of `data`
            assert item.place.limit is not None
            return
        if done:
            item.content[at : at + len(data)] = data

    @precondition(lambda self: self.keys)
    @step(which=WHICH)
    def wipe(self, which):
        item = self.item(which)
        item.key.wipe()
        item.wiped = True
        item.content[:] = bytes(len(item.content))

    @precondition(lambda self: self.keys)
    @step(which=WHICH, count=st.integers(1, 6))
    def drop(self, which, count):
        for i in range(min(count, len(self.keys))):
            self.let_go(self.item(which + i * 5))

    @precondition(lambda self: self.keys)
    @step(which=WHICH, access=st.sampled_from([NOACCESS, READONLY, READWRITE]))
    def protect(self, which, access):
        guarded = [item for item in self.keys if item.guarded and not item.forked]
        if not guarded:
            return
        item = guarded[which % len(guarded)]
        refusal = WipedError if item.wiped else BufferError if item.views and access < item.effective else None
        if works(refusal, getattr(item.key, ACCESSES[access])):
            item.access = access
            item.settle()

    @precondition(lambda self: self.keys)
    @step(which=WHICH, inwards=st.booleans())
    def enter_or_leave(self, which, inwards):
        item = self.item(which)
        if inwards and len(item.blocks) < BLOCKS_MAX:
            refusal = TypeError if not item.guarded else WipedError if item.wiped else None
            block = item.key.unlocked()
            if works(refusal, block.__enter__):
                item.blocks.append(block)
        elif item.blocks:
            item.blocks.pop().__exit__(None, None, None)
        item.settle()

    @precondition(lambda self: self.keys)
    @step(which=WHICH)
    def view(self, which):
        item = self.item(which)
        if works(item.read_refusal, len, item.key):
            item.views.append(memoryview(item.key))
            assert item.views[-1].readonly == (item.effective == READONLY)

    @precondition(lambda self: self.items)
    @step(which=WHICH, at=WHICH, byte=st.integers(0, 255))
    def write_through_a_view(self, which, at, byte):
        writable = [(item, view) for item in self.items for view in item.views if not view.readonly and item.content]
        if writable:
            item, view = writable[which % len(writable)]
            view[at % len(view)] = byte
            item.content[at % len(view)] = byte

    @precondition(lambda self: self.items)
    @step(which=WHICH)
    def release_a_view(self, which):
        viewed = [item for item in self.items if item.views]
        if viewed:
            item = viewed[which % len(viewed)]
            item.views.pop(which % len(item.views)).release()
            item.settle()
            if item.key is None and not item.views:
                self.forget(item)

    # --- steps: threads and processes ---

    @precondition(lambda self: self.keys)
    @step(which=WHICH, count=st.integers(1, 8))
    def drop_in_another_thread(self, which, count):
        chosen = {id(item): item for item in (self.item(which + i * 5) for i in range(count))}.values()
        dropped = []
        for item in chosen:
            if not item.views and not item.blocks:
                dropped.append(item.key)
                self.let_go(item)
        in_threads(1, lambda i: dropped.clear())

    @step(which=WHICH, sizes=st.lists(SIZES, min_size=1, max_size=6))
    def work_in_a_thread_that_ends(self, which, sizes):
        """What it leaves alive becomes this thread's."""
        place = self.place(which)
        kept = []

        def work(i):
            for size in sizes:
                SecureBytes.random(size, heap=place.heap)
                kept.append(SecureBytes.random(size, heap=place.heap))

        try:
            works(ProtectedError if place.locked else None, in_threads, 1, work)
        except HeapLimitError:
            assert place.limit is not None
        place.items += [Item(key, bytes(key), place, False) for key in kept if not place.locked]

    @step(sizes=st.lists(SIZES, max_size=4), deeper=st.integers(0, 3))
    def fork(self, sizes, deeper):
        forked(lambda: self.live_as_a_child(sizes, deeper == 3))

    def check(self):
        self.every_heap_is_as_the_model_says()
        self.every_object_is_as_the_model_says()

    def live_as_a_child(self, sizes, has_a_child):
        for place in self.places:
            for item in place.items:
                item.forked = item.forked or place.isolated
        self.check()
        for i, size in enumerate(sizes):
            for place in self.places:
                self.make_one(place, size, list(WAYS)[i])
        self.check()
        if has_a_child:
            forked(lambda: self.live_as_a_child(sizes, False))
            self.check()
        self.begin_anew()

    # --- the end ---

    def empty(self):
        """Let everything go; answers the heaps."""
        heaps = [place.heap for place in self.places]
        for place in list(self.places):
            while place.blocks:
                place.blocks.pop().__exit__(None, None, None)
            place.heap.unlock()
            place.locked = False
            for item in list(place.items):
                while item.views:
                    item.views.pop().release()
                self.let_go(item)
        return heaps

    def begin_anew(self):
        """With every object goes every page."""
        for heap in self.empty():
            heap.trim()
            assert heap.is_valid()
            stats = heap.stats()
            assert (stats.live, stats.committed) == (0, 0), stats

    def teardown(self):
        self.empty()
        for place in self.places:
            place.handle = None  # a failure's traceback holds the place
