"""What secalloc does that needs the system: each operation prepares its ground and answers what is to be done on it.

What is to be done can be done again where it failed. It checks what it made, and answers what shall live on.
"""
import ctypes
import os
import signal

import secalloc
from secalloc import Heap, ProtectedError, SecureBytes
from secalloc_ext.heapobject import counts_touches
from support import capi, maps
from support.forking import exit_code, remark, what_it_has
from support.threads import in_threads

LARGE, MIDDLE, SMALL = 100_000, 1000, 32
EVERY = {}


def operation(prepare):
    EVERY[prepare.__name__] = prepare
    return prepare


def refused(use):
    """Whether the object's protection keeps Python from using it."""
    try:
        use()
    except ProtectedError:
        return True
    return False


def checked(call, *arguments):
    """A pointer from the C API; NULL as an OSError."""
    ctypes.set_errno(0)
    pointer = call(*arguments)
    if pointer is None:
        raise OSError(ctypes.get_errno(), "NULL")
    return pointer


def used(heap, size, count):
    """Have objects in a heap, and drop them."""
    kept = [SecureBytes(size, heap=heap) for _ in range(count)]
    kept.clear()


# --- beginnings ---


@operation
def how_the_kernel_counts(ground):
    """Asked once, with the first chunk; before all others it is asked beforehand, so that only their own calls fail."""
    ground.is_fresh = True
    return counts_touches


@operation
def first_object(ground):
    ground.is_fresh = True
    return lambda: SecureBytes(b"first")


@operation
def first_object_from_c(ground):
    ground.is_fresh = True
    return lambda: ground.keep_pointer(checked(capi.calloc, 1, SMALL))


@operation
def first_object_of_a_thread(ground):
    heap = ground.heap()
    used(heap, MIDDLE, 1)

    def work(i):
        assert SecureBytes(b"thread", heap=heap) == b"thread"

    return lambda: in_threads(1, work)


@operation
def a_heap_and_its_first_object(ground):
    ground.heap()
    return lambda: SecureBytes(b"first", heap=ground.heap())


@operation
def a_hardened_heap(ground):
    ground.heap()
    return lambda: [SecureBytes(SMALL, heap=heap) for heap in [ground.heap(hardening="full")] for _ in range(300)][:3]


@operation
def a_heap_of_whichever_backend_there_is(ground):
    ground.heap()
    return lambda: ground.heap(backend="auto").backend


@operation
def handlers_for_emergencies(ground):
    return lambda: secalloc.wipe_on_signal(signal.SIGUSR1, signal.SIGUSR2)


# --- objects ---


@operation
def small_objects_until_their_heap_grows(ground):
    heap = ground.heap(gap_frames=15)
    kept = [SecureBytes(MIDDLE, heap=heap)]
    enough = heap.stats().committed + 400 * MIDDLE

    def grow():
        """To a size, not a count: the last free slots may do for a while."""
        made = list(kept)
        while heap.stats().committed < enough:
            made += [SecureBytes(MIDDLE, heap=heap) for _ in range(20)]
        return made

    return grow


@operation
def a_reserve(ground):
    heap = ground.heap()
    kept = SecureBytes(MIDDLE, heap=heap)
    return lambda: [kept, heap.reserve("1 MiB", threads=1)]


@operation
def a_large_object(ground):
    heap = ground.heap()
    kept = SecureBytes(SMALL, heap=heap)
    return lambda: [kept, SecureBytes(b"\1" * LARGE, heap=heap)]


@operation
def a_large_object_on_used_pages(ground):
    heap = ground.heap(quarantine_large=0)
    SecureBytes(LARGE, heap=heap)
    return lambda: SecureBytes(b"\1" * LARGE, heap=heap)


@operation
def a_large_object_in_place_of_others(ground):
    """The heap's limit leaves room for it only when what was freed is released."""
    heap = ground.heap(limit=4 * LARGE)
    kept = SecureBytes(SMALL, heap=heap)
    used(heap, MIDDLE, 100)
    SecureBytes(LARGE, heap=heap)
    return lambda: [kept, SecureBytes(3 * LARGE, heap=heap)]


@operation
def a_guarded_object(ground):
    heap = ground.heap()
    return lambda: SecureBytes(b"guarded", heap=heap).copy() == SecureBytes(7, heap=heap, guarded=True)


@operation
def an_aligned_object(ground):
    ground.heap()
    return lambda: ground.keep_pointer(checked(capi.aligned_alloc, 1 << 16, 100))


@operation
def random_bytes(ground):
    heap = ground.heap()
    kept = [SecureBytes(SMALL, heap=heap)]

    def act():
        made = SecureBytes.random(MIDDLE, heap=heap)
        assert made[-SMALL:] != bytes(SMALL)
        return kept, made

    return act


@operation
def an_array(ground):
    import secalloc.numpy as snp

    heap = ground.heap()
    return lambda: snp.ones(MIDDLE, heap=heap)


an_array.needs = "secalloc.numpy"


@operation
def growth_by_realloc(ground):
    ground.heap()
    pointers = {size: checked(capi.malloc, size) for size in (SMALL, 20_000)}
    for pointer in pointers.values():
        capi.write(pointer, b"grown")

    def act():
        for size in pointers:
            try:
                pointers[size] = checked(capi.realloc, pointers[size], 10 * LARGE)
            finally:
                assert capi.read(pointers[size], 5) == b"grown"
        for pointer in pointers.values():
            ground.keep_pointer(pointer)

    return act


@operation
def a_file_of_unknown_size(ground):
    """Read into a block that grows, from where the descriptor stands."""
    heap = ground.heap()
    expected = b"f" * 30_000

    def act():
        reader, writer = os.pipe()
        os.write(writer, expected)
        os.close(writer)
        try:
            made = SecureBytes.from_file(reader, heap=heap)
        finally:
            os.close(reader)
        assert made == expected
        return made

    return act


@operation
def a_file_of_known_size(ground):
    heap = ground.heap()
    fd = os.memfd_create("known size")
    os.write(fd, b"f" * MIDDLE)

    def act():
        made = SecureBytes.from_file(f"/proc/self/fd/{fd}", heap=heap)
        assert made == b"f" * MIDDLE
        return made

    return act


@operation
def revealed_bytes(ground):
    """On pages of their own, the first of them ordinary."""
    key = SecureBytes(b"revealed", heap=ground.heap())
    small = key.reveal()

    def act():
        made = [key.reveal(), key.reveal() * 1000]
        assert made == [b"revealed", b"revealed" * 1000]
        assert small == b"revealed"
        return key, made

    return act


@operation
def revealed_text(ground):
    heap = ground.heap(warm_large=0)  # else it is drawn by lot whether what is freed is closed
    key = SecureBytes("\u20ac".encode() * MIDDLE * 20, heap=heap)

    def act():
        made = key.reveal_str()
        assert made == "\u20ac" * MIDDLE * 20
        assert made[1:] == made[:-1]
        return key, made

    return act


# --- protection ---


@operation
def protection_of_a_guarded_object(ground):
    """Step by step: a step that failed is repeated, and meanwhile the object is as it was."""
    key = SecureBytes(b"guarded", heap=ground.heap(), guarded=True)
    steps = [(key.noaccess, "closed"), (key.readonly, "readable"), (key.readwrite, "open"), (key.readonly, "readable"),
             (key.noaccess, "closed"), (key.readwrite, "open")]  # fmt: skip
    done = ["open"]

    def expect(state):
        assert refused(lambda: key[0]) == (state == "closed"), state
        assert refused(lambda: key.__setitem__(0, ord("g"))) == (state != "open"), state

    def act():
        while len(done) <= len(steps):
            step, state = steps[len(done) - 1]
            try:
                step()
            except Exception:
                expect(done[-1])
                with key.unlocked():  # behind which the protection is what it was, not what it failed to become
                    pass
                expect(done[-1])
                raise
            expect(state)
            done.append(state)
        return key

    return act


@operation
def a_block_that_opens_a_guarded_object(ground):
    key = SecureBytes(b"guarded", heap=ground.heap(), guarded=True)
    key.noaccess()

    def act():
        key.noaccess()  # what a failed end of a block left open
        with key.unlocked():
            assert key == b"guarded"
        assert refused(lambda: key[0])
        return key

    return act


def lock_ground(ground):
    heap = ground.heap()
    keys = [SecureBytes(b"small", heap=heap), SecureBytes(b"l" * LARGE, heap=heap),
            SecureBytes(b"guarded", heap=heap, guarded=True)]  # fmt: skip
    keys[2].readonly()
    return heap, keys


def all_usable(keys):
    return (keys[0], keys[1][LARGE - 1], keys[2]) == (b"small", ord("l"), b"guarded")


@operation
def the_lock_of_a_heap(ground):
    heap, keys = lock_ground(ground)

    def act():
        try:
            heap.lock()
        finally:
            assert refused(lambda: keys[0][0]) == heap.locked
            assert heap.locked or all_usable(keys)
        return keys

    ground.at_end(heap.unlock)
    return act


@operation
def the_unlocking_of_a_heap(ground):
    heap, keys = lock_ground(ground)
    heap.lock()

    def act():
        try:
            heap.unlock()
        finally:
            assert refused(lambda: keys[0][0]) == heap.locked
        assert all_usable(keys)
        return keys

    return act


@operation
def a_block_in_a_locked_heap(ground):
    """In which objects are made, used and dropped."""
    heap, keys = lock_ground(ground)
    heap.lock()

    def act():
        with heap.unlocked():
            assert all_usable(keys)
            made = [SecureBytes(size, heap=heap) for size in (SMALL, 5 * MIDDLE, LARGE)]
            del made[::2]
        assert refused(lambda: keys[0][0])
        return keys, made

    ground.at_end(heap.unlock)
    return act


# --- endings ---


@operation
def a_free_of_a_large_object(ground):
    heap = ground.heap()
    kept = [SecureBytes(LARGE, heap=heap)]
    return kept.clear


@operation
def a_free_of_a_large_object_that_is_not_kept(ground):
    heap = ground.heap(retain=0, quarantine_large=0)
    kept = [SecureBytes(LARGE, heap=heap)]
    return kept.clear


@operation
def a_free_of_a_closed_object(ground):
    kept = [SecureBytes(b"guarded", heap=ground.heap(), guarded=True)]
    kept[0].noaccess()
    return kept.clear


@operation
def a_free_in_a_locked_heap(ground):
    heap = ground.heap()
    kept = [SecureBytes(size, heap=heap) for size in (SMALL, LARGE)]
    heap.lock()
    ground.at_end(heap.unlock)
    return kept.clear


@operation
def a_trim(ground):
    heap = ground.heap()
    kept = [SecureBytes(MIDDLE, heap=heap) for _ in range(400)] + [SecureBytes(LARGE, heap=heap) for _ in range(5)]
    del kept[1:]
    heap.stats()

    def act():
        heap.trim()
        return kept

    return act


@operation
def a_trim_of_pages_for_revealed_bytes(ground):
    heap = ground.heap()
    key = SecureBytes(b"revealed", heap=heap)
    kept = [key.reveal() for _ in range(5)]
    del kept[1:]

    def act():
        heap.trim()
        assert kept == [b"revealed"]
        assert key.reveal() == b"revealed"
        return key, kept

    return act


@operation
def an_end_of_revealed_bytes_that_are_not_kept(ground):
    heap = ground.heap()
    key = SecureBytes(b"revealed", heap=heap)
    kept = [key.reveal() * MIDDLE * 10]

    def act():
        kept.clear()
        return key

    return act


@operation
def the_wipe_of_a_heap(ground):
    heap, keys = lock_ground(ground)
    heap.lock()

    def act():
        heap.wipe()
        return keys

    ground.at_end(heap.unlock)
    return act


@operation
def the_end_of_a_heap(ground):
    ground.heap()
    heap = Heap("ending")
    ended = [heap, SecureBytes(LARGE, heap=heap)]
    heap.lock()
    del heap
    return ended.clear


# --- the same where there are protection keys ---


def by_key(prepare):
    def prepare_with_keys(ground):
        from support import faults  # only where it is preloaded

        faults.pretend_keys()
        return prepare(ground)

    prepare_with_keys.__name__ = prepare.__name__ + "_by_key"
    return prepare_with_keys


for _prepare in (the_lock_of_a_heap, the_unlocking_of_a_heap, a_block_in_a_locked_heap, a_free_in_a_locked_heap):
    operation(by_key(_prepare))


# --- fork ---


def forked(heap, keys):
    """Fork: in both processes all goes on. Answers what the child had."""
    before = maps.address_space()
    status = exit_code(lambda: look_around(heap, keys))
    assert maps.address_space() < before + LARGE, "a copy for the child is left"
    assert all_usable(keys)
    return remark(status)


def look_around(heap, keys):
    """In the child; its exit code."""
    made = []
    code = what_it_has(
        lambda: all_usable(keys),
        lambda: made.extend([SecureBytes(b"child", heap=heap), SecureBytes(LARGE, heap=heap)]),
    )
    whole = heap.is_valid() and heap.stats().live == len(made) + len(keys) * (code & 1)
    return code if whole else 9


def fork_ground(ground, on_fork):
    heap = ground.heap(on_fork=on_fork)
    keys = [SecureBytes(b"small", heap=heap), SecureBytes(b"l" * LARGE, heap=heap),
            SecureBytes(b"guarded", heap=heap, guarded=True)]  # fmt: skip

    def act():
        ground.remark = forked(heap, keys)
        return keys

    return act


@operation
def a_fork_that_isolates(ground):
    return fork_ground(ground, "isolate")


@operation
def a_fork_that_copies(ground):
    return fork_ground(ground, "copy")


def revealed_ground(ground, on_fork):
    """A child that has copies reads them; one that has none is told so; either drops them and makes its own."""
    heap = ground.heap(on_fork=on_fork)
    key = SecureBytes(b"revealed", heap=heap)
    kept = [[key.reveal(), key.reveal_str()], [key.reveal(), key.reveal_str()]]
    kept.pop()

    def make():
        kept.clear()
        assert SecureBytes(b"child", heap=heap).reveal() == b"child"

    def look():
        code = what_it_has(lambda: kept == [[b"revealed", "revealed"]], make)
        return code if heap.is_valid() else 9

    def act():
        status = exit_code(look)
        assert kept == [[b"revealed", "revealed"]]
        ground.remark = remark(status)
        return key, kept

    return act


@operation
def a_fork_that_isolates_what_is_revealed(ground):
    return revealed_ground(ground, "isolate")


@operation
def a_fork_that_copies_what_is_revealed(ground):
    return revealed_ground(ground, "copy")
