"""NumPy arrays whose data lies on secret pages (NEP 49).

    >>> import secalloc.numpy as snp
    >>> weights = snp.zeros((1000, 128))
    >>> with snp.secure_arrays():            # temporaries too
    ...     scores = weights @ weights.T

Data is aligned to 64 bytes and wiped when the last array that uses it goes. Arrays of Python objects are refused: their
data is pointers to objects in ordinary memory.

Thread safety: as numpy's own functions. The handler set by `secure_arrays` belongs to the context (contextvars) that
entered it: asyncio tasks made inside inherit it, `threading.Thread` and executor workers do not.
"""
from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from secalloc_ext import nep49
from secalloc_ext.heapobject import DEFAULT, Heap

__all__ = ["array", "backend_of", "empty", "full", "is_secret", "ones", "secure_arrays", "zeros"]

Shape = int | tuple[int, ...]


@contextmanager
def secure_arrays(heap: Heap | None = None) -> Generator[None]:
    """Put the data of every array made in the block on secret pages, temporaries included.

    Also usable as a decorator. Nests. What numpy, BLAS and LAPACK copy into buffers of their own stays in ordinary
    memory.

    Parameters
    ----------
    heap : where the data goes; None: the default heap
    """
    previous = nep49.handler_set(nep49.handler_for(heap or DEFAULT))
    try:
        yield
    finally:
        nep49.handler_set(previous)


def _made(make: Callable[[], NDArray[Any]], dtype: DTypeLike | None, heap: Heap | None) -> NDArray[Any]:
    """Call `make` with secret data memory, and let the heap say why where there is none."""
    if dtype is not None and np.dtype(dtype).hasobject:
        raise TypeError("an array of Python objects holds pointers: the objects would stay in ordinary memory")
    with secure_arrays(heap):
        try:
            return make()
        except MemoryError as error:
            nep49.raise_for(heap or DEFAULT, 0)
            raise error


def empty(
    shape: Shape, dtype: DTypeLike = float, order: str = "C", *, heap: Heap | None = None
) -> NDArray[Any]:
    """`numpy.empty` on secret pages. The data is zero all the same: so is every fresh slot."""
    return _made(lambda: np.empty(shape, dtype, order), dtype, heap)  # type: ignore[call-overload]


def zeros(
    shape: Shape, dtype: DTypeLike = float, order: str = "C", *, heap: Heap | None = None
) -> NDArray[Any]:
    """`numpy.zeros` on secret pages."""
    return _made(lambda: np.zeros(shape, dtype, order), dtype, heap)  # type: ignore[call-overload]


def ones(
    shape: Shape, dtype: DTypeLike = float, order: str = "C", *, heap: Heap | None = None
) -> NDArray[Any]:
    """`numpy.ones` on secret pages."""
    return _made(lambda: np.ones(shape, dtype, order), dtype, heap)  # type: ignore[call-overload]


def full(
    shape: Shape, fill_value: Any, dtype: DTypeLike | None = None, order: str = "C", *, heap: Heap | None = None
) -> NDArray[Any]:
    """`numpy.full` on secret pages."""
    if dtype is None and np.asarray(fill_value).dtype.hasobject:
        dtype = object
    return _made(lambda: np.full(shape, fill_value, dtype, order), dtype, heap)  # type: ignore[call-overload]


def array(object: ArrayLike, dtype: DTypeLike | None = None, *, heap: Heap | None = None) -> NDArray[Any]:
    """A copy of anything `numpy.array` takes, on secret pages. The source is as it was: wiping it is the caller's.

    Raises
    ------
    TypeError : the result would hold Python objects
    """
    result = _made(lambda: np.array(object, dtype), dtype, heap)
    if result.dtype.hasobject:
        raise TypeError("an array of Python objects holds pointers: the objects would stay in ordinary memory")
    return result


def is_secret(a: NDArray[Any]) -> bool:
    """Whether the array's data, a view's included, lies on secret pages, of whichever backend."""
    return nep49.owns(a.__array_interface__["data"][0])


def backend_of(a: NDArray[Any]) -> str | None:
    """What holds the array's data, a view's included: "secretmem" or "mlock".

    None where that is ordinary memory, or a parent process's.
    """
    return nep49.backend_at(a.__array_interface__["data"][0])
