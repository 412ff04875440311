"""The heap under C threads that run at the same time, which Python threads seldom do."""
import ctypes
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest
from support import capi
from support.fixtures import nothing_leaks  # noqa: F401
from support.threads import in_threads

from secalloc_ext.heapobject import DEFAULT

SOURCE = Path(__file__).parent / "support" / "hammer.c"


class Functions(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("malloc", "realloc", "free", "usable_size")]


@pytest.fixture(scope="module")
def hammer(tmp_path_factory):
    """support/hammer.c, compiled: answers how many contracts were broken."""
    library = tmp_path_factory.mktemp("hammer") / "hammer.so"
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    subprocess.run([*compiler, "-O2", "-shared", "-fPIC", "-pthread", "-o", library, SOURCE], check=True)
    function = ctypes.CDLL(str(library)).hammer
    function.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_uint64]
    function.restype = ctypes.c_long
    return function


def functions(**others):
    names = [name for name, _ in Functions._fields_]
    return Functions(*(others.get(name) or capi.address(name) for name in names))


@pytest.mark.parametrize(("threads", "generations", "rounds"), [(1, 1, 200_000), (2, 2, 100_000), (8, 4, 15_000),
                                                                (32, 10, 500)])  # fmt: skip
def test_threads_that_exchange_objects_break_no_contract(hammer, threads, generations, rounds):
    table = functions()
    assert hammer(ctypes.byref(table), threads, generations, rounds, 7) == 0
    assert DEFAULT.is_valid()


def test_the_hammer_sees_broken_contracts(hammer):
    """The positive control: libc's malloc, filled with ones, does not answer zeroed memory."""
    libc = ctypes.CDLL(None)
    others = {name: ctypes.cast(getattr(libc, name), ctypes.c_void_p).value for name in ("malloc", "realloc", "free")}
    others["usable_size"] = ctypes.cast(libc.malloc_usable_size, ctypes.c_void_p).value
    assert hammer(ctypes.byref(functions(**others)), 2, 1, 1_000, 7) > 0


def test_statistics_trim_and_python_threads_go_on_while_c_threads_hammer(hammer):
    table = functions()

    def work(i):
        if i == 0:
            assert hammer(ctypes.byref(table), 3, 3, 20_000, 11) == 0
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
