"""Locking a heap as a whole."""
import ctypes
import errno
import os
import signal
import threading

import pytest
from support import capi, children, maps
from support.fixtures import nothing_leaks  # noqa: F401
from support.threads import in_threads

import secalloc.numpy as snp
from secalloc import AllocationError, Heap, HeapLimitError, ProtectedError, SecureBytes

SIZES = [1, 32, 5000, 100_000]


@pytest.fixture
def heap():
    heap = Heap("locked")
    yield heap
    heap.unlock()


@pytest.fixture(params=[*SIZES, "guarded"])
def key(request, heap):
    """An object of each kind with something in it."""
    size, guarded = (64, True) if request.param == "guarded" else (request.param, False)
    key = SecureBytes(size, heap=heap, guarded=guarded)
    key[0] = 7
    return key


def test_a_locked_heap_lets_nobody_use_its_objects(heap, key):
    heap.lock()
    assert heap.locked
    for use in (bytes, len, memoryview, lambda k: k[0], lambda k: k[:1], lambda k: k == b"", lambda k: k.copy()):
        with pytest.raises(ProtectedError, match=r"heap\.unlocked\(\)"):
            use(key)
    with pytest.raises(ProtectedError):
        key[0] = 1


def test_the_pages_of_a_locked_heap_are_closed(heap, key):
    address = capi.address_of(key)
    assert maps.mapping_at(address).access.startswith("rw")
    heap.lock()
    if heap.stats().protection_key:
        assert maps.protection_key_at(address) == heap.stats().protection_key
    else:
        assert maps.mapping_at(address).is_closed
    heap.unlock()
    assert maps.mapping_at(address).access.startswith("rw")


def test_unlocking_gives_everything_back_as_it_was(heap, key):
    heap.lock()
    heap.unlock()
    assert not heap.locked
    assert key[0] == 7
    assert heap.is_valid()


def test_locking_twice_and_unlocking_twice_is_no_error(heap, key):
    heap.lock()
    heap.lock()
    heap.unlock()
    heap.unlock()
    assert key[0] == 7


def test_a_block_lets_its_thread_in_and_out_again(heap, key):
    heap.lock()
    with heap.unlocked() as same:
        assert same is heap
        assert heap.locked
        assert key[0] == 7
        key[0] = 8
        made = SecureBytes(b"new", heap=heap)
        with heap.unlocked():
            assert made == b"new"
        assert key[0] == 8
    with pytest.raises(ProtectedError):
        key[0]
    with pytest.raises(ProtectedError):
        made[0]
    heap.unlock()
    assert (key[0], bytes(made)) == (8, b"new")


def test_other_threads_are_not_let_in(heap, key):
    seen = []

    def look():
        try:
            seen.append(key[0])
        except ProtectedError:
            seen.append("refused")

    heap.lock()
    with heap.unlocked():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert seen == ["refused"]
        assert key[0] == 7


def test_a_block_must_end_in_its_own_thread(heap):
    block = heap.unlocked()
    block.__enter__()
    errors = []

    def end():
        try:
            block.__exit__(None, None, None)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    assert len(errors) == 1
    block.__exit__(None, None, None)


def test_a_block_ends_with_its_thread(heap, key):
    address = capi.address_of(key)
    heap.lock()
    in_threads(1, lambda i: heap.unlocked().__enter__())
    assert maps.mapping_at(address).is_closed or heap.stats().protection_key
    with pytest.raises(ProtectedError):
        key[0]


def test_a_block_that_never_ends_lets_nobody_into_a_later_heap():
    abandoned = Heap("abandoned")
    abandoned.unlocked().__enter__()
    del abandoned
    later = Heap("later")
    key = SecureBytes(8, heap=later)
    later.lock()
    with pytest.raises(ProtectedError):
        key[0]
    later.unlock()


def test_a_heap_locked_inside_a_block_is_open_to_that_block(heap, key):
    with heap.unlocked():
        heap.lock()
        assert key[0] == 7
    with pytest.raises(ProtectedError):
        key[0]


def test_nothing_can_be_made_in_a_locked_heap(heap):
    heap.lock()
    for size in SIZES:
        with pytest.raises(ProtectedError):
            SecureBytes(size, heap=heap)
    with pytest.raises(ProtectedError):
        SecureBytes(8, heap=heap, guarded=True)
    with pytest.raises(ProtectedError):
        SecureBytes.random(8, heap=heap)
    with pytest.raises(ProtectedError):
        snp.zeros(100, heap=heap)
    assert heap.stats().live == 0


def test_what_is_dropped_while_locked_is_wiped_and_given_back(heap):
    kept = [SecureBytes(b"x" * size, heap=heap) for size in SIZES for _ in range(50)]
    guarded = SecureBytes(b"y", heap=heap, guarded=True)
    heap.lock()
    del kept[::2], guarded
    assert heap.stats().live == len(kept)
    assert heap.is_valid()
    heap.unlock()
    assert heap.is_valid()
    assert all(set(key) == {ord("x")} for key in (k[:10] for k in kept))
    kept.clear()
    assert heap.stats().live == 0


def test_objects_dropped_by_other_threads_while_locked(heap):
    kept = [SecureBytes(b"x" * (i % 3000), heap=heap) for i in range(2000)]
    heap.lock()
    lock = threading.Lock()

    def drop():
        while True:
            with lock:
                if not kept:
                    return
                key = kept.pop()
            del key

    threads = [threading.Thread(target=drop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heap.stats().live == 0
    assert heap.is_valid()


def test_wiping_works_while_locked(heap, key):
    other = SecureBytes(b"secret", heap=heap)
    heap.lock()
    key.wipe()
    assert key.wiped
    heap.wipe()
    heap.unlock()
    assert other == bytes(6)


def test_a_view_that_is_out_refuses_the_lock(heap, key):
    view = memoryview(key)
    with pytest.raises(BufferError, match="view"):
        heap.lock()
    assert not heap.locked
    view.release()
    heap.lock()
    assert heap.locked


def test_a_view_made_in_a_block_keeps_the_pages_open_until_it_is_released(heap, key):
    heap.lock()
    with heap.unlocked():
        view = memoryview(key)
        other = memoryview(key)
        address = capi.address_of(key)
    assert view[0] == 7
    with pytest.raises(ProtectedError):
        key[0]
    view.release()
    assert other[0] == 7
    other.release()
    if not heap.stats().protection_key:
        assert maps.mapping_at(address).is_closed
    heap.unlock()
    assert key[0] == 7


def test_a_guarded_object_keeps_its_own_protection(heap):
    key = SecureBytes(b"guarded", heap=heap, guarded=True)
    key.noaccess()
    heap.lock()
    heap.unlock()
    with pytest.raises(ProtectedError, match="noaccess"):
        key[0]
    heap.lock()
    key.readonly()  # takes effect when the heap is open
    with pytest.raises(ProtectedError, match="heap"):
        key[0]
    with heap.unlocked():
        assert key == b"guarded"
        with pytest.raises(ProtectedError, match="readonly"):
            key[0] = 1


def test_statistics_say_which_mechanism_locks(heap):
    assert heap.stats().locked == 0
    heap.lock()
    assert heap.stats().locked == 1
    with open("/proc/cpuinfo") as cpuinfo:
        has_keys = " ospke" in cpuinfo.read()
    assert (heap.stats().protection_key > 0) == has_keys


def test_heaps_are_locked_one_by_one(heap, key):
    mine, other = SecureBytes(b"default"), Heap("other")
    theirs = SecureBytes(b"theirs", heap=other)
    heap.lock()
    assert mine == b"default"
    assert theirs == b"theirs"


def test_the_default_heap_can_be_locked():
    children.succeed("""
        from secalloc import ProtectedError, SecureBytes, stats
        from secalloc_ext.heapobject import DEFAULT
        key = SecureBytes(b"key")
        DEFAULT.lock()
        try:
            key[0]
        except ProtectedError:
            DEFAULT.unlock()
        assert key == b"key" and stats().live == 1
    """)


def test_a_limit_is_kept_in_a_block(heap):
    small = Heap("small", limit="64 KiB")
    small.lock()
    with small.unlocked(), pytest.raises(HeapLimitError):
        SecureBytes(100_000, heap=small)


def test_a_heap_can_be_locked_while_a_thread_lacks_memory_elsewhere():
    """Such a thread takes back what other heaps hold in quarantine, without the GIL."""
    children.succeed("""
        import sys, threading
        from secalloc import Heap, SecureBytes, configure
        from support import capi
        configure(limit="1 MiB")
        other = Heap("other", hardening="full")
        stop = threading.Event()

        def lack():
            while not stop.is_set():
                assert capi.malloc(2_000_000) is None

        thread = threading.Thread(target=lack)
        thread.start()
        sys.setswitchinterval(1e-5)
        for _ in range(1500):
            keys = [SecureBytes(size, heap=other) for size in range(100, 4000, 100) for _ in range(3)]
            del keys
            other.lock()
            other.unlock()
        stop.set()
        thread.join()
    """)


def test_trimming_a_locked_heap_is_safe(heap, key):
    heap.lock()
    heap.trim()
    heap.unlock()
    assert key[0] == 7


@pytest.mark.parametrize("hardening", ["fast", "full"])
def test_a_thousand_rounds_of_lock_and_use(hardening):
    heap = Heap("rounds", hardening=hardening)
    kept = []
    for i in range(1000):
        heap.lock()
        with heap.unlocked():
            kept.append(SecureBytes(bytes([i % 256]) * (i % 700 + 1), heap=heap))
        if len(kept) > 50:
            del kept[i % 50]
        heap.unlock()
        assert kept[-1][0] == i % 256
    assert heap.is_valid()
    assert heap.stats().live == len(kept)


@pytest.mark.parametrize("policy", ["isolate", "copy"])
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside a block"])
def test_a_fork_while_locked_leaves_both_processes_locked(policy, inside):
    heap = Heap("forked", on_fork=policy)
    keys = [SecureBytes(b"secret", heap=heap), SecureBytes(b"s" * 100_000, heap=heap)]
    heap.lock()
    if inside:
        heap.unlocked().__enter__()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            refused = 0
            for key in keys:
                try:
                    key[0]
                except Exception as error:
                    refused += type(error).__name__ in ("ProtectedError", "ForkedError")
            heap.unlock()
            made = SecureBytes(b"child's", heap=heap)
            if policy == "copy":
                right = refused == (0 if inside else 2) and keys[0] == b"secret" and keys[1][99_999] == ord("s")
            else:
                right = refused == 2
            code = 0 if right and made == b"child's" and heap.is_valid() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    if inside:
        assert keys[0] == b"secret"
    else:
        with pytest.raises(ProtectedError):
            keys[0][0]
    heap.unlock()
    assert keys[0] == b"secret"
    assert heap.is_valid()


def test_a_fault_on_a_locked_heap_ends_the_process():
    children.die(
        """
        import ctypes
        from secalloc import Heap, SecureBytes
        from support import capi
        heap = Heap("h")
        key = SecureBytes(b"secret", heap=heap)
        address = capi.address_of(key)
        assert ctypes.string_at(address, 6) == b"secret"
        heap.lock()
        print("ready", flush=True)
        ctypes.string_at(address, 6)
        """,
        by=signal.SIGSEGV,
    )


def test_write_2_from_a_locked_heap_gives_efault(heap):
    key = SecureBytes(b"secret", heap=heap)
    address = capi.address_of(key)
    read_end, write_end = os.pipe()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    assert libc.write(write_end, address, 6) == 6  # the positive control
    heap.lock()
    assert libc.write(write_end, address, 6) == -1
    assert ctypes.get_errno() == errno.EFAULT
    os.close(read_end)
    os.close(write_end)


def test_the_lock_survives_a_machine_without_map_entries():
    """mprotect(2) of whole mappings needs no new ones."""
    children.succeed("""
        from support import hostile
        from secalloc import Heap, SecureBytes
        heap = Heap("h")
        keys = [SecureBytes(b"secret", heap=heap), SecureBytes(100_000, heap=heap)]
        with hostile.NoMappingLeft():
            heap.lock()
            with heap.unlocked():
                assert keys[0] == b"secret"
            heap.unlock()
        assert keys[0] == b"secret"
    """)


def test_a_limit_of_data_keeps_a_heap_locked_and_its_objects_can_still_be_dropped():
    """Opening private pages counts against RLIMIT_DATA again, which the program may have used up meanwhile."""
    children.succeed("""
        import resource
        from support import hostile
        from secalloc import AllocationError, Heap, SecureBytes
        hostile.use_up_protection_keys()  # which lock without a system call
        heap = Heap("h", backend="mlock")
        keys = [SecureBytes(b"x" * (8 << 20), heap=heap), SecureBytes(b"guarded", heap=heap, guarded=True)]
        keys[1].noaccess()
        heap.lock()
        hostile.limit("RLIMIT_DATA", 4 << 20)
        for use in (heap.unlock, heap.unlocked().__enter__):
            try:
                use()
                raise SystemExit("not refused")
            except AllocationError as error:
                assert "RLIMIT_DATA" in str(error), error
            assert heap.locked
        dropped = keys.pop()
        del dropped
        hostile.limit("RLIMIT_DATA", resource.RLIM_INFINITY)
        heap.unlock()
        assert keys[0] == b"x" * (8 << 20) and heap.stats().live == 1 and heap.is_valid()
    """)


def test_realloc_by_the_reading_of_a_file_is_refused_when_locked(heap, tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"x" * 10_000)
    heap.lock()
    with pytest.raises(ProtectedError):
        SecureBytes.from_file(path, heap=heap)
    with heap.unlocked():
        assert len(SecureBytes.from_file(path, heap=heap)) == 10_000


def test_errors_of_a_locked_heap_are_no_memory_errors(heap):
    heap.lock()
    with pytest.raises(ProtectedError) as caught:
        SecureBytes(8, heap=heap)
    assert not isinstance(caught.value, (AllocationError, MemoryError))
