"""First touches made before they are needed: `Heap.reserve`, and the thread that touches pages ahead.

A first touch is a minor page fault, which the kernel counts for each thread.
"""
import contextlib
import os
import threading
from textwrap import dedent

import pytest
from support.children import succeed
from support.forking import forked

from secalloc import AllocationError, Heap, HeapLimitError, ProtectedError, SecureBytes

MIB = 1 << 20
PIECE = 124 << 10
FAULTS = """
import gc, os, resource
from secalloc import Heap, SecureBytes
gc.disable()
def faults(who=resource.RUSAGE_THREAD):
    return resource.getrusage(who).ru_minflt
def secrets(heap, count):
    made = [None] * count
    before = faults()
    for i in range(count):
        made[i] = SecureBytes(32, heap=heap)
    return faults() - before, made
"""


# --- reserve ---

@pytest.mark.parametrize("threads", [1, 2, None, 5])
def test_what_is_reserved_is_free_and_costs_no_first_touch(threads):
    succeed(FAULTS + dedent(f"""
        heap = Heap("h", prefault=False)
        heap.reserve("8 MiB", threads={threads})
        stats = heap.stats()
        assert stats.piece_bytes_free >= 8 << 20 and stats.live == 0
        some, made = secrets(heap, 100_000)
        assert heap.stats().committed == stats.committed and heap.is_valid()
        many, others = secrets(Heap("not reserved", prefault=False), 100_000)
        assert many - some > 1_000, (many, some)  # the rest is of Python's own memory
    """))  # fmt: skip


def test_no_more_is_mapped_than_was_asked_for_and_again_asks_for_nothing():
    heap = Heap("h", prefault=False)
    heap.reserve(3 * PIECE + 1)
    assert heap.stats().committed == 4 * PIECE
    heap.reserve(3 * PIECE)
    assert heap.stats().committed == 4 * PIECE
    heap.trim()
    assert heap.stats().committed == 0


def test_more_than_the_machine_has_is_refused_before_a_page_is_touched():
    heap = Heap("absurd")
    with pytest.raises(AllocationError, match="no machine has that much"):
        heap.reserve(1 << 62)
    with pytest.raises(AllocationError):
        heap.reserve(os.sysconf("SC_PHYS_PAGES") * 4096 + 1)
    assert heap.stats().committed == 0


def test_what_is_used_is_not_free_and_is_reserved_again():
    heap = Heap("h", prefault=False)
    heap.reserve("1 MiB")
    kept = [SecureBytes(32, heap=heap) for _ in range(10_000)]
    assert heap.stats().piece_bytes_free < MIB
    heap.reserve("1 MiB")
    assert heap.stats().piece_bytes_free >= MIB
    assert len(kept) == heap.stats().live
    assert heap.is_valid()


def test_it_stays_whatever_the_heap_would_retain_until_trim():
    heap = Heap("h", retain=0, prefault=False)
    heap.reserve("4 MiB")
    for _ in range(3):
        kept = [SecureBytes(32, heap=heap) for _ in range(50_000)]
        kept.clear()
    assert heap.stats().committed >= 4 * MIB
    heap.trim()
    assert heap.stats().committed == 0


def test_progress_comes_to_its_end_from_the_thread_that_asked():
    seen = []
    heap = Heap("h", prefault=False)
    heap.reserve("4 MiB", threads=1, progress=lambda done, size: seen.append((done, size, threading.get_ident())))
    assert [size for _, size, _ in seen] == [4 * MIB] * len(seen)
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert {ident for _, _, ident in seen} == {threading.get_ident()}
    assert seen[-1][0] == 4 * MIB
    assert len(seen) > 3


def test_what_progress_raises_comes_through_and_no_thread_stays():
    def stop(done, size):
        raise KeyError(done)

    heap = Heap("h", prefault=False)
    with pytest.raises(KeyError):
        heap.reserve("16 MiB", threads=3, progress=stop)
    assert threading.active_count() == 1
    assert heap.is_valid()


def test_a_limit_is_told_and_what_there_is_stays():
    heap = Heap("h", limit="1 MiB", prefault=False)
    with pytest.raises(HeapLimitError, match="no secret memory for 2097152 bytes: the heap's limit is 1048576 bytes"):
        heap.reserve("2 MiB")
    assert 0 < heap.stats().piece_bytes_free <= MIB
    assert SecureBytes(32, heap=heap) == bytes(32)
    assert heap.is_valid()


@pytest.mark.parametrize(("size", "error"), [("many", ValueError), (-1, ValueError), (None, TypeError),
                                             (1.5, TypeError)])  # fmt: skip
def test_a_size_that_is_none_is_refused(size, error):
    with pytest.raises(error):
        Heap("h").reserve(size)


def test_a_locked_heap_has_no_pages_to_touch():
    heap = Heap("h", prefault=False)
    kept = SecureBytes(32, heap=heap)
    heap.lock()
    with pytest.raises(ProtectedError):
        heap.reserve("1 MiB")
    heap.unlock()
    heap.reserve("1 MiB")
    assert kept == bytes(32)


@pytest.mark.parametrize("on_fork", ["isolate", "copy"])
def test_forks_while_other_threads_reserve(on_fork):
    heap = Heap("h", on_fork=on_fork, prefault=False)
    kept = SecureBytes(b"kept" * 8, heap=heap)
    worker = threading.Thread(target=heap.reserve, args=["24 MiB"], kwargs={"threads": 2})
    worker.start()

    def live():
        if on_fork == "copy":
            assert kept == b"kept" * 8
        made = [SecureBytes(32, heap=heap) for _ in range(5_000)]
        assert heap.is_valid()
        heap.reserve("1 MiB", threads=1)
        made.clear()
        heap.trim()

    forks = 0
    while worker.is_alive() or forks == 0:
        forked(live)
        forks += 1
    worker.join()
    assert heap.stats().piece_bytes_free >= 24 * MIB
    assert heap.is_valid()


# --- ahead of need ---

AHEAD = FAULTS + """
def by_others(count, **options):
    heap = Heap("h", **options)
    before = faults(resource.RUSAGE_SELF) - faults()
    _, made = secrets(heap, count)
    heap.trim()  # waits for what is being touched
    assert heap.is_valid() and len(os.listdir("/proc/self/task")) <= 2
    return faults(resource.RUSAGE_SELF) - faults() - before
"""


def test_another_thread_touches_pages_when_a_heap_grows_and_not_when_it_is_told_not_to():
    succeed(AHEAD + dedent("""
        assert by_others(200_000) > 100
        assert by_others(200_000, prefault=False) == 0
    """))  # fmt: skip


def test_a_process_with_few_secrets_has_no_such_thread():
    succeed(AHEAD + dedent("""
        assert by_others(2_000) == 0
        assert len(os.listdir("/proc/self/task")) == 1
    """))  # fmt: skip


def test_the_default_heap_is_told_by_configure():
    succeed(AHEAD + dedent("""
        import secalloc
        secalloc.configure(prefault=False)
        from secalloc_ext.heapobject import DEFAULT
        before = faults(resource.RUSAGE_SELF) - faults()
        secrets(DEFAULT, 200_000)
        assert faults(resource.RUSAGE_SELF) - faults() == before
    """))  # fmt: skip


def test_the_thread_is_gone_when_the_process_forks_and_comes_back():
    """So that neither Python 3.12's warning about forks of processes with threads comes, nor what it warns of."""
    succeed(AHEAD + dedent("""
        import warnings
        warnings.simplefilter("error")
        heap = Heap("h")
        made, forks = [], 0
        for _ in range(40):
            made += secrets(heap, 10_000)[1]
            pid = os.fork()
            if pid == 0:
                os._exit(len(os.listdir("/proc/self/task")) - 1)
            assert os.waitpid(pid, 0)[1] == 0
        assert faults(resource.RUSAGE_SELF) - faults() > 100
    """))  # fmt: skip


def test_the_thread_takes_no_signals():
    succeed(AHEAD + dedent("""
        import signal, threading
        heap = Heap("h")
        seen = []
        signal.signal(signal.SIGALRM, lambda *_: seen.append(threading.get_ident()))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        made = secrets(heap, 300_000)[1]
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert set(seen) == {threading.get_ident()}
        import contextlib
        for task in os.listdir("/proc/self/task"):
            # A thread that ends meanwhile has no file, or one that cannot be read any more.
            gone = contextlib.suppress(FileNotFoundError, ProcessLookupError)
            with gone, open(f"/proc/self/task/{task}/status") as status:
                blocked = next(int(line.split()[1], 16) for line in status if line.startswith("SigBlk:"))
                assert task == str(os.getpid()) or blocked >> (signal.SIGALRM - 1) & 1
    """))  # fmt: skip


def test_a_heap_is_locked_and_trimmed_while_the_thread_is_at_work():
    heap = Heap("h")
    for _ in range(30):
        made = [SecureBytes(32, heap=heap) for _ in range(12_000)]
        heap.lock()
        heap.unlock()
        assert all(key == bytes(32) for key in made[::1_000])
        made.clear()
        heap.trim()
        assert heap.stats().committed == 0


def test_the_last_page_of_a_limit_is_had_by_objects_not_by_the_thread():
    """Near the limit it waits for what is held, instead of failing."""
    heap, plain = Heap("h", limit="4 MiB"), Heap("p", limit="4 MiB", prefault=False)


    def fill(heap):
        made = []
        with contextlib.suppress(HeapLimitError):
            while True:
                made.append(SecureBytes(32, heap=heap))
        return len(made)

    assert fill(heap) >= fill(plain) * 0.98 > 70_000
