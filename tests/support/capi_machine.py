"""The C API against a plain model: a dict of what each pointer holds.

The default heap is what is under it, with nothing else going on in it.
"""
import errno

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition

from secalloc_ext.heapobject import DEFAULT
from support import capi
from support.forking import forked
from support.steps import step
from support.threads import in_threads

EDGES = [0, 1, 15, 16, 24, 32, 120, 128, 4_088, 4_096, 16_392, 16_393, 126_968, 126_976, 126_977, 300_000]
SIZES = st.one_of(st.integers(0, 300), st.integers(0, 40_000), st.sampled_from(EDGES))
WHICH = st.integers(0, 2**16)
LIVE_MAX = 40


class Block:
    """What the model knows of one pointer."""

    def __init__(self, content, guarded=False):
        self.content = bytearray(content)
        self.guarded = guarded
        self.access = capi.READWRITE


class CAPIMachine(RuleBasedStateMachine):
    api = capi  # a broken stand-in takes its place in the positive controls
    steps_made = 0

    def __init__(self):
        super().__init__()
        self.live = {}
        self.serial = 0
        self.before = DEFAULT.stats()  # a machine that failed may have left something

    # --- helpers ---

    def pattern(self, size):
        """Bytes that no other object has."""
        self.serial += 1
        return ((self.serial * 2_654_435_761 % 2**32).to_bytes(4, "little") * (size // 4 + 1))[:size]

    def adopt(self, pointer, size, guarded=False):
        """Take a fresh object into the model, and fill it."""
        assert pointer is not None
        assert pointer not in self.live
        assert self.api.owns(pointer)
        assert guarded or pointer % 16 == 0
        assert capi.read(pointer, size) == bytes(size)
        self.live[pointer] = Block(self.pattern(size), guarded)
        capi.write(pointer, bytes(self.live[pointer].content))

    def make(self, size):
        self.adopt(self.api.malloc(size), size)

    def pick(self, which):
        return list(self.live)[which % len(self.live)]

    def open(self, pointer):
        """Have the object readable and writable."""
        block = self.live[pointer]
        if block.access != capi.READWRITE:
            assert self.api.protect(pointer, capi.READWRITE) == 0
            block.access = capi.READWRITE
        return block

    def forget(self, which, count):
        """Take some pointers out of the model, for somebody to free."""
        chosen = [self.pick(which + i * 7) for i in range(count)]
        return [pointer for pointer in chosen if self.live.pop(pointer, None) is not None]

    def free_all(self):
        for pointer in self.live:
            capi.free(pointer)
        self.live.clear()

    # --- what must hold at every moment ---

    @invariant()
    def the_heap_is_as_the_model_says(self):
        assert DEFAULT.is_valid()
        stats = DEFAULT.stats()
        assert stats.live - self.before.live == len(self.live)
        assert stats.live_bytes - self.before.live_bytes == sum(len(block.content) for block in self.live.values())
        for pointer, block in self.live.items():
            assert self.api.usable_size(pointer) == len(block.content)  # ends the process at a damaged canary
            if block.access != capi.NOACCESS:
                assert capi.read(pointer, len(block.content)) == block.content

    # --- steps: making, changing, freeing ---

    @step(size=SIZES)
    def malloc(self, size):
        self.make(size)

    @step(n=st.integers(0, 6), size=SIZES)
    def calloc(self, n, size):
        self.adopt(self.api.calloc(n, size), n * size)

    @step(shift=st.integers(0, 14), size=SIZES)
    def aligned_alloc(self, shift, size):
        pointer = self.api.aligned_alloc(1 << shift, size)
        assert pointer % (1 << shift) == 0
        self.adopt(pointer, size)

    @step(size=SIZES)
    def guarded_alloc(self, size):
        self.adopt(self.api.guarded_alloc(size), size, guarded=True)

    @precondition(lambda self: self.live)
    @step(which=WHICH, size=SIZES)
    def realloc(self, which, size):
        pointer = self.pick(which)
        old = self.open(pointer)
        moved = self.api.realloc(pointer, size)
        del self.live[pointer]
        kept = old.content[:size]
        assert moved is not None
        assert moved not in self.live
        assert capi.read(moved, size) == kept + bytes(size - len(kept))
        self.live[moved] = Block(self.pattern(size), old.guarded)
        capi.write(moved, bytes(self.live[moved].content))

    @precondition(lambda self: self.live)
    @step(which=WHICH, at=WHICH, data=st.binary(min_size=1, max_size=40))
    def write(self, which, at, data):
        pointer = self.pick(which)
        content = self.open(pointer).content
        at %= len(content) + 1
        data = data[: len(content) - at]
        capi.write(pointer + at, data)
        content[at : at + len(data)] = data

    @precondition(lambda self: self.live)
    @step(which=WHICH, access=st.sampled_from([capi.NOACCESS, capi.READONLY, capi.READWRITE]))
    def protect(self, which, access):
        """Of the guarded object that comes next; whatever it is when it is freed, freeing works."""
        guarded = [pointer for pointer, block in self.live.items() if block.guarded]
        if guarded:
            pointer = guarded[which % len(guarded)]
            assert self.api.protect(pointer, access) == 0
            self.live[pointer].access = access

    @precondition(lambda self: self.live)
    @step(which=WHICH)
    def free(self, which):
        for pointer in self.forget(which, 1):
            self.api.free(pointer)

    @precondition(lambda self: len(self.live) > LIVE_MAX // 2)
    @step(which=WHICH, count=st.integers(LIVE_MAX // 4, LIVE_MAX))
    def free_many(self, which, count):
        for pointer in self.forget(which, count):
            self.api.free(pointer)

    # --- steps: threads, processes, the heap as a whole ---

    @precondition(lambda self: self.live)
    @step(which=WHICH, count=st.integers(1, 8))
    def free_in_another_thread(self, which, count):
        pointers = self.forget(which, count)
        in_threads(1, lambda i: [self.api.free(pointer) for pointer in pointers])

    @step(sizes=st.lists(SIZES, min_size=1, max_size=6))
    def work_in_a_thread_that_ends(self, sizes):
        """Every other object it made is left to this one."""
        kept = []

        def work(i):
            for size in sizes:
                pointer = self.api.malloc(size)
                capi.write(pointer, b"\xff" * size)
                self.api.free(pointer)
                kept.append((self.api.malloc(size), size))

        in_threads(1, work)
        for pointer, size in kept:
            self.adopt(pointer, size)

    @step(everything=st.integers(0, 7))
    def trim(self, everything):
        DEFAULT.trim()
        if everything == 7:
            self.begin_anew()

    @step()
    def wipe(self):
        DEFAULT.wipe()
        for block in self.live.values():
            block.content[:] = bytes(len(block.content))

    @step(which=WHICH, count=st.integers(0, 5), size=SIZES)
    def free_under_the_heap_s_lock(self, which, count, size):
        DEFAULT.lock()
        assert DEFAULT.is_valid()
        assert capi.errno_of(self.api.malloc, size) == errno.ENOMEM
        for pointer in self.forget(which, count) if self.live else []:
            self.api.free(pointer)
        with DEFAULT.unlocked():
            self.make(size)
        assert DEFAULT.is_valid()
        DEFAULT.unlock()

    @step(sizes=st.lists(SIZES, max_size=4), deeper=st.integers(0, 3))
    def fork(self, sizes, deeper):
        forked(lambda: self.live_as_a_child(sizes, deeper == 3))

    def live_as_a_child(self, sizes, has_a_child):
        if DEFAULT.on_fork == "isolate":
            for pointer in self.live:
                assert self.api.usable_size(pointer) == 0
                assert capi.errno_of(self.api.realloc, pointer, 10) == errno.ENOMEM
                self.api.free(pointer)
            self.live.clear()
            self.before = DEFAULT.stats()
        self.the_heap_is_as_the_model_says()
        for size in sizes:
            self.make(size)
        self.the_heap_is_as_the_model_says()
        if has_a_child:
            forked(lambda: self.live_as_a_child(sizes, False))
            self.the_heap_is_as_the_model_says()
        self.begin_anew()

    def begin_anew(self):
        """With every object goes every page."""
        self.free_all()
        DEFAULT.trim()
        assert DEFAULT.is_valid()
        assert (DEFAULT.stats().committed == 0) == (self.before.live == 0)

    def teardown(self):
        DEFAULT.unlock()
        self.free_all()
