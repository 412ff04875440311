"""Layer 5: arrays whose data lies on secret pages, through numpy's allocator hook (NEP 49)."""
import gc
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import capi, maps
from support.children import die, succeed
from support.fixtures import nothing_leaks  # noqa: F401
from support.oracle import outcome

import secalloc
import secalloc.numpy as snp
from secalloc import Heap

SHAPES = [(), (0,), (1,), (7,), (3, 0, 2), (3, 5), (2, 3, 4), (129,), (1_000,), (2_049,), (50, 60), (40_000,)]
DTYPES = ["u1", "i2", "f4", "f8", "c16", "?", "S7", "U3", "M8[s]", "i4,f8", ">i8"]


def data_of(a):
    return a.__array_interface__["data"][0]


# --- making ---


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_function_makes_what_numpy_s_makes_on_secret_pages(shape, dtype):
    for name in ("zeros", "ones", "empty"):
        made, plain = getattr(snp, name)(shape, dtype), getattr(np, name)(shape, dtype)
        assert (made.shape, made.dtype, made.strides) == (plain.shape, plain.dtype, plain.strides)
        assert type(made) is np.ndarray
        assert made.flags.owndata
        assert made.flags.writeable
        assert snp.is_secret(made)
        assert not snp.is_secret(plain)
        assert maps.mapping_at(data_of(made)).is_secret
        if name != "empty":
            assert made.tobytes() == plain.tobytes()
        del made


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fresh_data_is_zero_even_of_empty(shape):
    for _ in range(5):
        a = snp.empty(shape)
        assert not a.any()
        a[...] = 7
        del a


@given(st.lists(st.integers(0, 40), max_size=3), st.sampled_from(DTYPES))
def test_data_is_aligned_to_64_bytes(shape, dtype):
    arrays = [make(tuple(shape), dtype) for make in (snp.zeros, snp.ones, snp.empty) for _ in range(2)]
    assert all(data_of(a) % 64 == 0 for a in arrays)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_order_is_that_asked_for(order):
    for a in (snp.zeros((3, 5), order=order), snp.full((3, 5), 2.5, order=order), snp.empty((3, 5), float, order)):
        assert a.flags[f"{order}_CONTIGUOUS"]


@pytest.mark.parametrize("value", [0, 1.5, 2j, True, "text", b"x", np.float32(3), [1, 2, 3]])
def test_full_makes_what_numpy_s_makes(value):
    made, plain = snp.full((2, 3), value), np.full((2, 3), value)
    assert made.dtype == plain.dtype
    assert (made == plain).all()
    assert snp.is_secret(made)


@pytest.mark.parametrize("source", [[1, 2, 3], [[1.5, 2], [3, 4]], 7, "text", range(5), (), np.arange(12).reshape(3, 4),
                                    np.arange(12)[::-2], b"bytes", memoryview(b"view")], ids=repr)  # fmt: skip
def test_array_copies_what_numpy_s_copies(source):
    made, plain = snp.array(source), np.array(source)
    assert made.dtype == plain.dtype
    assert made.shape == plain.shape
    assert made.tobytes() == plain.tobytes()
    assert snp.is_secret(made)


def test_array_copies_even_a_secret_array():
    a = snp.ones(4)
    b = snp.array(a)
    assert data_of(a) != data_of(b)


def test_an_array_can_be_made_of_a_secure_bytes_without_a_copy():
    key = secalloc.SecureBytes(16)
    a = np.frombuffer(key, "u1")
    assert snp.is_secret(a)
    a[3] = 9
    assert key[3] == 9
    key.wipe()
    assert not a.any()


def test_arrays_made_by_numpy_outside_the_context_are_ordinary():
    assert not snp.is_secret(np.zeros(1_000))
    with snp.secure_arrays():
        pass
    assert not snp.is_secret(np.zeros(1_000))


# --- what is refused ---


@pytest.mark.parametrize("dtype", [object, "O", "i4,O", [("a", "O")], np.dtype(("O", 3))])
def test_arrays_of_python_objects_are_refused(dtype):
    for make in (snp.zeros, snp.empty, snp.ones):
        with pytest.raises(TypeError, match="ordinary memory"):
            make(3, dtype)
    with pytest.raises(TypeError, match="ordinary memory"):
        snp.full(3, None, dtype)


@pytest.mark.parametrize("source", [[None], [object()], [{}], np.array([None]), [2**100]])
def test_an_array_that_would_hold_python_objects_is_refused(source):
    with pytest.raises(TypeError, match="ordinary memory"):
        snp.array(source)
    with pytest.raises(TypeError, match="ordinary memory"):
        snp.full(3, source[0])


@pytest.mark.parametrize("shape", [2**40, 2**59, (2**20, 2**20, 2**10)])
def test_an_absurd_shape_is_a_memory_error_of_secalloc(shape):
    for make in (snp.zeros, snp.empty, snp.ones):
        with pytest.raises(secalloc.AllocationError) as caught:
            make(shape)
        assert isinstance(caught.value, MemoryError)
    assert snp.zeros(5).sum() == 0


@pytest.mark.parametrize("shape", [-1, (3, -1), 2**62, 2**64, "3", 1.5, None, (2**32, 2**32)])
def test_a_bad_shape_is_the_error_of_numpy(shape):
    got = outcome(snp.zeros, shape)
    expected = outcome(np.zeros, shape)
    assert got is expected if isinstance(expected, type) else (got == expected).all()


@pytest.mark.parametrize("dtype", ["no such", 5, "i3"])
def test_a_bad_dtype_is_the_error_of_numpy(dtype):
    assert outcome(snp.zeros, 3, dtype) is outcome(np.zeros, 3, dtype) is TypeError


def test_take_refuses_an_array_it_cannot_wipe_in_one_go():
    for a in (np.asfortranarray(np.ones((3, 2))), np.ones(9)[::2]):
        with pytest.raises(TypeError, match=r"take\(\)"):
            secalloc.SecureBytes.take(a)
    a = np.ones(3)
    assert len(secalloc.SecureBytes.take(a)) == 24
    assert not a.any()


def test_a_heap_s_limit_is_its_error_and_passes():
    heap = Heap("limited", limit="256 KiB")
    with pytest.raises(secalloc.HeapLimitError, match="262144 bytes"):
        snp.zeros(100_000, heap=heap)
    with snp.secure_arrays(heap), pytest.raises(MemoryError):
        np.zeros(100_000)
    assert heap.stats().live == 0
    assert snp.zeros(1_000, heap=heap).sum() == 0


# --- life ---


def test_an_array_keeps_its_heap_after_the_context_and_the_handle_are_gone():
    heap = Heap("short")
    with snp.secure_arrays(heap):
        a = np.arange(1_000.0)
    b = snp.ones(10, heap=heap)
    del heap
    gc.collect()
    more = [Heap(str(i)) for i in range(5)]
    assert a.sum() == 499_500
    assert b.sum() == 10
    assert [each.stats().live for each in more] == [0] * 5
    a.resize(2_000, refcheck=False)
    assert snp.is_secret(a)
    del a, b


def test_a_view_is_secret_and_keeps_the_data():
    view = snp.ones((10, 10))[2:5, ::3].T
    gc.collect()
    assert snp.is_secret(view)
    assert view.sum() == 12
    assert snp.is_secret(view.view("i8"))
    assert snp.is_secret(view.base[3:])


@pytest.mark.parametrize("size", [10, 1_000, 100_000])
def test_the_data_is_wiped_when_the_last_array_that_uses_it_goes(size):
    a = snp.full(size, 0xA5, "u1")
    address = data_of(a)
    view = a[3:]
    del a
    assert capi.read(address + 3, 5) == b"\xa5" * 5  # the control: this is where it is
    del view
    assert capi.read(address, size) == bytes(size)


@pytest.mark.parametrize("old", [0, 1, 10, 100, 3_000, 50_000])
@pytest.mark.parametrize("new", [0, 1, 10, 100, 3_000, 50_000])
def test_resizing_keeps_the_data_zeroes_the_rest_and_stays_on_secret_pages(old, new):
    a = snp.zeros(old, "i4")
    a[...] = np.arange(1, old + 1)
    a.resize(new, refcheck=False)
    assert a.tolist() == (list(range(1, old + 1)) + [0] * new)[:new]
    assert snp.is_secret(a)
    assert data_of(a) % 64 == 0


def test_resizing_wipes_the_data_it_leaves():
    a = snp.full(50, 0x5A, "u1")
    old = data_of(a)
    assert capi.read(old, 50) == b"\x5a" * 50
    a.resize(10_000, refcheck=False)
    assert data_of(a) != old
    assert capi.read(old, 50) == bytes(50)


def test_live_arrays_are_counted_and_counted_down():
    heap = Heap("counted")
    arrays = [snp.zeros(n, "u1", heap=heap) for n in (0, 1, 1_000, 100_000)]
    stats = heap.stats()
    assert stats.live == 4
    assert 101_001 <= stats.live_bytes <= 101_002  # numpy asks one byte for none
    del arrays
    assert heap.stats().live == 0
    assert heap.is_valid()


def test_reading_a_large_array_s_data_after_it_is_gone_is_a_fault_under_full_hardening():
    die(
        """
        import ctypes, resource, secalloc, secalloc.numpy as snp
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        secalloc.configure(hardening="full")
        a = snp.ones(100_000)
        address = a.__array_interface__["data"][0]
        ctypes.string_at(address, 8)
        del a
        print("ready", flush=True)
        ctypes.string_at(address, 8)
        """,
        by=11,
    )


def test_writing_behind_an_array_s_data_ends_the_process_when_it_goes():
    die(
        """
        import ctypes, resource, secalloc.numpy as snp
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        a = snp.zeros(100, "u1")
        ctypes.memset(a.__array_interface__["data"][0] + 100, 1, 1)
        print("ready", flush=True)
        del a
        """,
        by=6,
        phrase="secalloc: overflow\n",
    )


def test_an_array_may_go_in_another_thread():
    heap = Heap("threads")
    arrays = [snp.ones(n, heap=heap) for n in (10, 1_000, 50_000)]
    thread = threading.Thread(target=arrays.clear)
    thread.start()
    thread.join()
    assert heap.stats().live == 0
    assert heap.is_valid()


def test_numpy_is_not_imported_before_it_is_asked_for():
    succeed(
        """
        import sys, secalloc
        secalloc.SecureBytes(4)
        assert "numpy" not in sys.modules
        import secalloc.numpy as snp
        assert snp.is_secret(snp.zeros(3))
        """
    )
