"""The heap under C threads that run at the same time, which Python threads seldom do."""
import ctypes
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import capi
from support.children import succeed
from support.fixtures import hammer_library, nothing_leaks  # noqa: F401
from support.hammer import Plan, functions, load
from support.threads import in_threads

from secalloc import Heap, SecureBytes
from secalloc_ext.heapobject import DEFAULT


@pytest.fixture(scope="module")
def hammer(hammer_library):  # noqa: F811
    return load(hammer_library)


@pytest.mark.parametrize(
    ("threads", "lives", "rounds"), [(1, 1, 100_000), (2, 2, 50_000), (8, 4, 8_000), (32, 10, 300)]
)
@pytest.mark.parametrize("small", [True, False], ids=["small", "all kinds"])
def test_threads_that_exchange_objects_break_no_contract(hammer, threads, lives, rounds, small):
    plan = Plan(threads=threads, lives=lives, rounds=rounds, small=small, seed=7)
    assert hammer(functions(), plan) == 0
    assert plan.operations >= threads * lives
    assert DEFAULT.is_valid()


def test_the_hammer_sees_broken_contracts(hammer):
    """The positive control: libc's malloc, filled with ones, does not answer zeroed memory."""
    libc = ctypes.CDLL(None)
    names = {"malloc": "malloc", "realloc": "realloc", "free": "free", "usable_size": "malloc_usable_size",
             "aligned_alloc": "memalign"}  # fmt: skip
    others = {name: ctypes.cast(getattr(libc, libcs), ctypes.c_void_p).value for name, libcs in names.items()}
    plan = Plan(threads=2, lives=1, rounds=1_000, seed=7)
    assert hammer(functions(**others, guarded_alloc=None, protect=None), plan) > 0


def test_threads_at_the_memlock_limit_break_no_contract(hammer_library):  # noqa: F811
    succeed(
        """
        import sys
        from secalloc_ext.heapobject import DEFAULT
        from support import hostile
        from support.hammer import Plan, functions, load
        hammer = load(sys.argv[1])
        hostile.become_ordinary_user()
        hostile.limit("RLIMIT_MEMLOCK", 1 << 20)
        assert hammer(functions(), Plan(threads=4, lives=3, rounds=10_000, seed=13)) == 0
        stats = DEFAULT.stats()
        assert stats.live == 0 and 900_000 < stats.committed_peak <= 1 << 20, stats
        assert DEFAULT.is_valid()
        """,
        hammer_library,
    )


FORKING = """
import os, secalloc, sys
from secalloc_ext.heapobject import DEFAULT
from support import capi
from support.hammer import Plan, functions, load
hammer = load(sys.argv[1])
secalloc.configure(on_fork=sys.argv[2], hardening=sys.argv[3])
copies = sys.argv[2] == "copy"
"""


@pytest.mark.parametrize("hardening", ["fast", "full"])
@pytest.mark.parametrize("on_fork", ["isolate", "copy"])
@pytest.mark.parametrize("small", [True, False], ids=["small", "all kinds"])
def test_forks_while_threads_allocate_give_children_that_work(hammer_library, on_fork, hardening, small):  # noqa: F811
    succeed(
        FORKING
        + """
plan = Plan(threads=3, lives=4, rounds=int(sys.argv[4]), small=int(sys.argv[5]), forks=20, copies=copies, seed=3)
assert hammer(functions(), plan) == 0
assert DEFAULT.is_valid() and DEFAULT.stats().live == 0
""",
        hammer_library, on_fork, hardening, 20_000 if small else 4_000, int(small),
    )  # fmt: skip


@pytest.mark.parametrize("expected", [0, 1])
def test_the_hammer_sees_a_child_that_does_not_have_what_it_should(hammer_library, expected):  # noqa: F811
    """The positive control: the heap has the other policy than the plan says."""
    succeed(
        FORKING + "assert hammer(functions(), Plan(threads=1, lives=1, rounds=9, forks=1, copies=not copies)) == 1",
        hammer_library, ["copy", "isolate"][expected], "fast",
    )  # fmt: skip


@pytest.mark.parametrize("hardening", ["fast", "full"])
def test_a_copied_heap_is_whole_in_the_child_whatever_c_threads_were_about(hammer_library, hardening):  # noqa: F811
    """Threads that allocate and free without a lock are not stopped by a fork."""
    succeed(
        FORKING
        + """
import threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: it is what is tested
thread = threading.Thread(target=hammer, args=(functions(), Plan(threads=3, lives=1, rounds=300_000, small=1, seed=5)))
thread.start()
forks = 0
while thread.is_alive() or forks < 10:
    pid = os.fork()
    if pid == 0:
        valid = DEFAULT.is_valid()
        objects = [capi.malloc(size) for size in range(300) for _ in range(20)]
        for p in objects:
            capi.free(p)
        os._exit(0 if valid and DEFAULT.is_valid() else 1 + valid)
    status = os.waitpid(pid, 0)[1]
    assert status == 0, status
    forks += 1
thread.join()
assert DEFAULT.is_valid()
""",
        hammer_library, "copy", hardening,
    )  # fmt: skip


def test_statistics_trim_and_python_threads_go_on_while_c_threads_hammer(hammer):
    def work(i):
        if i == 0:
            assert hammer(functions(), Plan(threads=3, lives=3, rounds=8_000, seed=11)) == 0
            return
        for _ in range(300):
            capi.free(capi.malloc(100 * i))
            if i == 1:
                DEFAULT.trim()
            elif i == 2:
                stats = DEFAULT.stats()
                assert stats.slab_bytes + stats.piece_bytes_free <= stats.committed

    in_threads(4, work)
    assert DEFAULT.is_valid()
    DEFAULT.trim()
    assert DEFAULT.stats().committed == DEFAULT.stats().slab_bytes


def test_a_closed_heap_is_given_back_though_threads_that_used_it_live_on():
    with ThreadPoolExecutor(2) as pool:
        for i in range(600):  # of at most 256 at a time
            heap = Heap(f"of request {i}", quarantine=i % 2 * 100)
            list(pool.map(lambda size, heap=heap: len(SecureBytes(size, heap=heap)), [8, 100, 5000, 20_000]))
            assert heap.stats().caches > 0
            del heap
