"""The heap under C threads that run at the same time, which Python threads seldom do."""
import ctypes

import pytest
from support import capi
from support.children import succeed
from support.compiler import shared_library
from support.fixtures import nothing_leaks  # noqa: F401
from support.hammer import functions, load
from support.threads import in_threads

from secalloc_ext.heapobject import DEFAULT


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """support/hammer.c, compiled."""
    return shared_library("hammer", tmp_path_factory.mktemp("hammer"))


@pytest.fixture(scope="module")
def hammer(library):
    return load(library)


@pytest.mark.parametrize(("threads", "generations", "rounds"), [(1, 1, 200_000), (2, 2, 100_000), (8, 4, 15_000),
                                                                (32, 10, 500)])  # fmt: skip
def test_threads_that_exchange_objects_break_no_contract(hammer, threads, generations, rounds):
    assert hammer(functions(), threads, generations, rounds, 7) == 0
    assert DEFAULT.is_valid()


def test_the_hammer_sees_broken_contracts(hammer):
    """The positive control: libc's malloc, filled with ones, does not answer zeroed memory."""
    libc = ctypes.CDLL(None)
    others = {name: ctypes.cast(getattr(libc, name), ctypes.c_void_p).value for name in ("malloc", "realloc", "free")}
    others["usable_size"] = ctypes.cast(libc.malloc_usable_size, ctypes.c_void_p).value
    assert hammer(functions(**others), 2, 1, 1_000, 7) > 0


def test_threads_at_the_memlock_limit_break_no_contract(library):
    succeed(
        """
        import sys
        from secalloc_ext.heapobject import DEFAULT
        from support import hostile
        from support.hammer import functions, load
        hammer = load(sys.argv[1])
        hostile.become_ordinary_user()
        hostile.limit("RLIMIT_MEMLOCK", 1 << 20)
        assert hammer(functions(), 4, 3, 10_000, 13) == 0
        stats = DEFAULT.stats()
        assert stats.live == 0 and 900_000 < stats.committed_peak <= 1 << 20, stats
        assert DEFAULT.is_valid()
        """,
        library,
    )


def test_statistics_trim_and_python_threads_go_on_while_c_threads_hammer(hammer):
    def work(i):
        if i == 0:
            assert hammer(functions(), 3, 3, 20_000, 11) == 0
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
