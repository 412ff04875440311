"""Layer 5: whoever takes arrays takes secret ones as they are: by buffer, by DLPack, by numpy's C API.

Of libraries that are not installed there is no test: `CONSUMERS` says which there are.
"""
import ctypes
import gc
import importlib
import struct
from importlib.util import find_spec

import numpy as np
import pytest
from support.fixtures import guest, guest_folder, nothing_leaks  # noqa: F401

import secalloc.numpy as snp
from secalloc import Heap


def by_memoryview(a):
    view = memoryview(a).cast("B").cast("d")
    return view, ctypes.addressof(ctypes.c_char.from_buffer(view)), lambda i, value: view.__setitem__(i, value)


def by_dlpack(a):
    made = np.from_dlpack(a)
    return made, made.ctypes.data, made.__setitem__ if made.flags.writeable else None


def by_ctypes(a):
    made = (ctypes.c_double * len(a)).from_buffer(a)
    return made, ctypes.addressof(made), made.__setitem__


def by_array_interface(a):
    class Holder:
        __array_interface__ = a.__array_interface__
        kept = a

    made = np.asarray(Holder())
    return made, made.ctypes.data, made.__setitem__


def by_struct(a):
    return a, a.ctypes.data, lambda i, value: struct.pack_into("d", a, 8 * i, value)


def by_torch(a):
    made = importlib.import_module("torch").from_numpy(a)
    return made, made.data_ptr(), made.__setitem__


def by_torch_dlpack(a):
    made = importlib.import_module("torch").from_dlpack(a)
    return made, made.data_ptr(), made.__setitem__


def by_torch_frombuffer(a):
    torch = importlib.import_module("torch")
    made = torch.frombuffer(a, dtype=torch.float64)
    return made, made.data_ptr(), made.__setitem__


def by_pyarrow(a):
    made = importlib.import_module("pyarrow").py_buffer(a)
    return made, made.address, None


def by_pyarrow_array(a):
    arrow = importlib.import_module("pyarrow")
    made = arrow.Array.from_buffers(arrow.float64(), len(a), [None, arrow.py_buffer(a)])
    return made, made.buffers()[1].address, None


CONSUMERS = {
    "memoryview.cast": by_memoryview, "DLPack": by_dlpack, "ctypes": by_ctypes, "struct": by_struct,
    "__array_interface__": by_array_interface,
}  # fmt: skip
LIBRARIES = {
    "torch": {"torch.from_numpy": by_torch, "torch.from_dlpack": by_torch_dlpack,
              "torch.frombuffer": by_torch_frombuffer},
    "pyarrow": {"pyarrow.py_buffer": by_pyarrow, "pyarrow.Array": by_pyarrow_array},
}  # fmt: skip
for library, consumers in LIBRARIES.items():
    if find_spec(library):
        CONSUMERS.update(consumers)


@pytest.mark.parametrize("take", CONSUMERS.values(), ids=CONSUMERS)
def test_a_consumer_gets_the_secret_pages_themselves_and_keeps_them(take):
    heap = Heap("consumed")
    a = snp.array([1.5, 2.5, 3.5], heap=heap)
    address = a.ctypes.data
    taken, seen, put = take(a)
    assert seen == address
    assert heap.stats().live == 1
    if put:
        put(1, 7.0)
        assert a[1] == 7
    del a, put
    gc.collect()
    assert heap.stats().live == 1
    del taken
    gc.collect()
    assert heap.stats().live == 0


def test_an_extension_reads_and_writes_a_secret_array_in_place(guest):  # noqa: F811
    a = snp.arange(10.0)
    assert guest.address(a) == a.ctypes.data
    assert guest.total(a[::-2]) == 25
    guest.put(a, 3, 1.5)
    guest.put_unasked(a, 4, 2.5)
    assert a[3:5].tolist() == [1.5, 2.5]


def test_arrays_that_c_makes_in_a_block_are_secret(guest):  # noqa: F811
    heap = Heap("c")
    assert not any(map(snp.is_secret, guest.made(100)))
    with snp.secure_arrays(heap):
        made = guest.made(100)
    assert all(map(snp.is_secret, made))
    assert heap.stats().live == len(made) == 4
    assert not made[0].any()


def test_an_absurd_size_asked_for_by_c_is_a_memory_error(guest):  # noqa: F811
    with snp.secure_arrays(), pytest.raises(MemoryError):
        guest.absurd()


def predict_by_scikit_learn(x, y):
    linear, neighbours = (importlib.import_module(f"sklearn.{name}") for name in ("linear_model", "neighbors"))
    return [model.fit(x, y).predict(x) for model in (linear.LinearRegression(), neighbours.KNeighborsRegressor(3))]


def predict_by_numpy(x, y):
    return [x @ np.linalg.lstsq(x, y, rcond=None)[0]]


PREDICTORS = [predict_by_numpy, *([predict_by_scikit_learn] if find_spec("sklearn") else [])]


@pytest.mark.parametrize("predict", PREDICTORS)
def test_a_model_predicts_from_secret_arrays_what_it_predicts_from_ordinary_ones(predict):
    x, y = np.arange(60.0).reshape(20, 3) % 7, np.arange(20.0)
    plain = predict(x, y)
    with snp.secure_arrays():
        secret = predict(snp.array(x), snp.array(y))
    for ours, theirs in zip(secret, plain, strict=True):
        assert snp.is_secret(ours)
        assert np.allclose(ours, theirs)
