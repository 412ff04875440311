"""`secure_arrays(scrub=True)`: what C libraries leave behind in a block is wiped."""
import ctypes
from pathlib import Path

import numpy as np
import pytest
from leaktable.measuring import measured
from numpyleaks import operations
from support.children import succeed
from support.compiler import shared_library
from support.threads import in_threads

import secalloc.numpy as snp
from secalloc import Heap
from secalloc_ext import openblas, scrub

HEAP = Heap("scrub")
# One for each kind of thing that is wiped, and what is found of it without.
CLOSED = {
    "m + m.T": "a casting buffer", "np.sort(a)": "the stack", "np.sort(a, kind='stable')": "scratch of malloc",
    "np.linalg.inv(m)": "BLAS's buffers, LAPACK's workspace", "np.fft.fft2(m)": "scratch of the transform",
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
def test_what_the_handler_alone_leaves_is_wiped(name):
    """The control is the same without: several times, as what is freed may be overwritten by chance."""
    left = any(measured(operations, name, "handler")["after"] for _ in range(8))
    assert left, "the handler alone left nothing to wipe"
    assert measured(operations, name, "scrub") == {"live": {}, "after": {}}


def test_memory_that_is_freed_in_the_block_is_overwritten_and_behind_it_is_not():
    """Of every size up to where malloc(3) maps pages, those that the thread keeps for itself included."""
    succeed(
        """
        import ctypes
        from secalloc_ext import scrub
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
        sizes = [*range(24, 1100, 8), 1500, 4000, 20_000, 100_000]
        def left(end):
            blocks = [(libc.malloc(size), size) for size in sizes for _ in range(8)]
            apart = [libc.malloc(16) for _ in blocks]
            for p, size in blocks:
                ctypes.memset(p, 0x41, size)
            for p, _ in blocks:
                libc.free(p)
            end()
            return sum(ctypes.string_at(p, size).count(b"A" * 16) for p, size in blocks)
        assert left(lambda: None) > 10_000, "nothing was left that could be overwritten"
        assert "malloc" in scrub.begin()
        assert left(scrub.end) == 0
        assert left(lambda: None) > 10_000
        """
    )


def test_blocks_nest_and_the_last_one_ends_it():
    before = openblas_threads()
    with snp.secure_arrays(HEAP, scrub=True):
        assert openblas_threads() in (1, None)
        with snp.secure_arrays(HEAP, scrub=True):
            pass
        assert openblas_threads() in (1, None)
        assert np.ones((200, 200)) @ np.ones(200) == pytest.approx(200)
    assert openblas_threads() == before


def openblas_threads():
    """Of numpy's own library, by its own function; None where numpy has another."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "scipy_openblas64" in line:
            return ctypes.CDLL(line.split()[-1]).scipy_openblas_get_num_threads64_()
    return None


def test_a_block_says_what_it_wipes():
    block = snp.secure_arrays(HEAP, scrub=True)
    assert block.scrub is True
    assert block.scrubs == frozenset()
    with block:
        assert {"stack", "malloc"} <= block.scrubs <= {"stack", "malloc", "blas"}
    assert ("blas" in block.scrubs) is (openblas.find() > 0)
    assert snp.secure_arrays(HEAP).scrub is False


def test_what_another_allocator_does_not_do_is_not_claimed(tmp_path):
    """As with jemalloc: mallopt(3) is there, and nothing is overwritten."""
    library = shared_library("no_mallopt", tmp_path)
    code = "from secalloc_ext import scrub; assert scrub.begin() == {'stack'}, scrub.begin()"
    succeed(code, environment={"LD_PRELOAD": str(library)})
    succeed("from secalloc_ext import scrub; assert scrub.begin() == {'stack', 'malloc'}")


@pytest.mark.parametrize(
    "variable", [{"MALLOC_PERTURB_": "165"}, {"GLIBC_TUNABLES": "glibc.malloc.perturb=165"}], ids=["env", "tunable"]
)
def test_what_the_environment_asks_of_malloc_stays(variable):
    succeed(
        """
        import ctypes
        from secalloc_ext import scrub
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        def fresh():
            return ctypes.string_at(libc.malloc(3000), 3000)
        assert fresh() == bytes([165 ^ 255]) * 3000
        assert scrub.begin() == {"stack", "malloc"}
        assert fresh() == bytes([165 ^ 255]) * 3000
        scrub.end()
        assert fresh() == bytes([165 ^ 255]) * 3000
        """,
        environment=variable,
    )


def test_threads_compute_and_scrub_at_the_same_time():
    def work(i):
        for _ in range(20):
            with snp.secure_arrays(HEAP, scrub=bool(i)):
                m = snp.random((150, 150), heap=HEAP)
                assert np.allclose(np.linalg.inv(np.linalg.inv(m)) @ np.eye(150), m, atol=1e-4)

    in_threads(4, work)
    assert scrub.begin()
    scrub.end()


def test_a_decorated_function_is_scrubbed_at_each_call():
    @snp.secure_arrays(HEAP, scrub=True)
    def work():
        return openblas_threads()

    before = openblas_threads()
    assert work() in (1, None)
    assert openblas_threads() == before
