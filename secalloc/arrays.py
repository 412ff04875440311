"""Arrays made on secret pages by numpy's own functions, and what can be asked of any array.

Each function calls numpy's under the allocator of a heap, and looks at the result: no array of ordinary memory passes
for a secret one. Arguments go to numpy as they came; of what a numpy does not know (``device`` before 2.0) nothing is
passed unless it was given.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from secalloc.arraycontext import secure_arrays
from secalloc_ext import arraydata, nep49
from secalloc_ext.bitsource import BitSource
from secalloc_ext.heapobject import DEFAULT, Heap
from secalloc_ext.securebytes import SecureBytes

if TYPE_CHECKING:
    from typing_extensions import Buffer

    _Order = Literal["C", "F", "A", "K"]

__all__ = [
    "arange", "array", "asarray", "backend", "copy", "empty", "empty_like", "frombuffer", "full", "full_like",
    "generator", "is_secret", "ones", "ones_like", "owner", "random", "wipe", "zeros", "zeros_like",
]  # fmt: skip

Array = NDArray[Any]
Shape = int | tuple[int, ...]
COPY_IF_NEEDED: Any = None if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else False  # False forbids it from 2.0 on


def refuse(dtype: np.dtype[Any]) -> None:
    """Say why data of this dtype would not all lie in the array, if so."""
    if dtype.base.kind == "T":
        raise TypeError("a StringDType array keeps text in an arena in ordinary memory: use a fixed width, S or U")
    if dtype.hasobject:
        raise TypeError("an array of Python objects holds pointers: the objects would stay in ordinary memory")


def made(
    make: Callable[..., Array], *given: Any, dtype: DTypeLike | None = None, heap: Heap | None, guarded: bool = False,
    **more: Any,
) -> Array:  # fmt: skip
    """What `make` makes, its data in a heap; which says why where it has no memory. `more`: passed where not None."""
    if dtype is not None:
        refuse(np.empty(0, dtype).dtype)  # as numpy takes it: a class, a subarray
    with secure_arrays(heap):
        try:
            result = make(*given, dtype=dtype, **{name: value for name, value in more.items() if value is not None})
        except MemoryError:
            nep49.raise_for(heap or DEFAULT, 0)
            raise
    refuse(result.dtype)
    if not is_secret(result):
        raise TypeError("an argument with __array_function__ made the array elsewhere than on secret pages")
    return _guarded(result, heap) if guarded else result


def _guarded(source: Array, heap: Heap | None) -> Array:
    """A copy over a guarded `SecureBytes`, whose last byte is the last before the guard page."""
    key = SecureBytes(source.nbytes, heap=heap, guarded=True)
    order: Literal["C", "F"] = "F" if source.flags.fnc else "C"
    result = np.frombuffer(memoryview(key), source.dtype).reshape(source.shape, order=order)
    result[...] = source
    return result


def empty(
    shape: Shape, dtype: DTypeLike | None = None, order: _Order = "C", *,
    device: str | None = None, like: ArrayLike | None = None, heap: Heap | None = None, guarded: bool = False,
) -> Array:  # fmt: skip
    """`numpy.empty` on secret pages. The data is zero all the same: so is every fresh slot."""
    return made(np.empty, shape, dtype=dtype, order=order, device=device, like=like, heap=heap, guarded=guarded)


def zeros(
    shape: Shape, dtype: DTypeLike | None = None, order: _Order = "C", *,
    device: str | None = None, like: ArrayLike | None = None, heap: Heap | None = None, guarded: bool = False,
) -> Array:  # fmt: skip
    """`numpy.zeros` on secret pages."""
    return made(np.zeros, shape, dtype=dtype, order=order, device=device, like=like, heap=heap, guarded=guarded)


def ones(
    shape: Shape, dtype: DTypeLike | None = None, order: _Order = "C", *,
    device: str | None = None, like: ArrayLike | None = None, heap: Heap | None = None, guarded: bool = False,
) -> Array:  # fmt: skip
    """`numpy.ones` on secret pages."""
    return made(np.ones, shape, dtype=dtype, order=order, device=device, like=like, heap=heap, guarded=guarded)


def full(
    shape: Shape, fill_value: Any, dtype: DTypeLike | None = None, order: _Order = "C", *,
    device: str | None = None, like: ArrayLike | None = None, heap: Heap | None = None, guarded: bool = False,
) -> Array:  # fmt: skip
    """`numpy.full` on secret pages."""
    return made(np.full, shape, fill_value, dtype=dtype, order=order, device=device, like=like, heap=heap,
                guarded=guarded)  # fmt: skip


def array(
    object: ArrayLike, dtype: DTypeLike | None = None, *, copy: bool | None = True, order: _Order = "K",
    subok: bool = False, ndmin: int = 0, like: ArrayLike | None = None, heap: Heap | None = None, guarded: bool = False,
) -> Array:  # fmt: skip
    """A copy of anything `numpy.array` takes, on secret pages. The source is as it was: wiping it is the caller's.

    ``copy=None`` copies what is of another kind or does not lie in secret memory, or not in `heap` where that is given;
    ``copy=False`` raises ValueError where it would have to.

    Raises
    ------
    TypeError : the result would hold Python objects, or text of no fixed width
    """
    if guarded and copy is False:
        raise ValueError("a guarded array is always a copy")

    def make(*given: Any, **more: Any) -> Array:
        return _brought(np.array(*given, copy=COPY_IF_NEEDED if copy is None else copy, **more), copy, heap)

    return made(make, object, dtype=dtype, order=order, subok=subok, ndmin=ndmin, like=like, heap=heap, guarded=guarded)


def _brought(found: Array, copy: bool | None, heap: Heap | None) -> Array:
    """The array itself if it lies in secret memory, in `heap` where one is given; else a copy there, if allowed.

    What converts itself (``__array__``), and a scalar of a structured dtype, numpy takes as it is even where it is told
    to copy.
    """
    if is_secret(found) if heap is None else arraydata.lies_in(found, heap):
        return found
    if copy is False:
        raise ValueError("the array is not in this secret memory: it has to be copied, and `copy=False` forbids it")
    return found.copy(order="K")


def asarray(
    a: ArrayLike, dtype: DTypeLike | None = None, order: _Order | None = None, *, device: str | None = None,
    copy: bool | None = None, like: ArrayLike | None = None, heap: Heap | None = None,
) -> Array:  # fmt: skip
    """`numpy.asarray` on secret pages: no copy of an array that is there already, in any heap unless one is given."""

    if copy is not None and device in (None, "cpu"):
        return array(a, dtype, copy=copy, order=order or "K", like=like, heap=heap)

    def make(*given: Any, **more: Any) -> Array:
        return _brought(np.asarray(*given, **more), None, heap)

    return made(make, a, dtype=dtype, order=order, device=device, like=like, heap=heap)


def copy(a: ArrayLike, order: _Order = "K", subok: bool = False, *, heap: Heap | None = None) -> Array:
    """`numpy.copy` on secret pages."""
    return array(a, order=order, subok=subok, heap=heap)


def arange(
    start_or_stop: Any, /, stop: Any = None, step: Any = 1, *, dtype: DTypeLike | None = None,
    device: str | None = None, like: ArrayLike | None = None, heap: Heap | None = None,
) -> Array:  # fmt: skip
    """`numpy.arange` on secret pages."""
    return made(np.arange, start_or_stop, stop, step, dtype=dtype, device=device, like=like, heap=heap)


def empty_like(
    prototype: ArrayLike, /, dtype: DTypeLike | None = None, order: _Order = "K", subok: bool = True,
    shape: Shape | None = None, *, device: str | None = None, heap: Heap | None = None,
) -> Array:  # fmt: skip
    """`numpy.empty_like` on secret pages; zero, as of `empty`."""
    return made(np.empty_like, prototype, dtype=dtype, order=order, subok=subok, shape=shape, device=device, heap=heap)


def zeros_like(
    a: ArrayLike, dtype: DTypeLike | None = None, order: _Order = "K", subok: bool = True,
    shape: Shape | None = None, *, device: str | None = None, heap: Heap | None = None,
) -> Array:  # fmt: skip
    """`numpy.zeros_like` on secret pages."""
    return made(np.zeros_like, a, dtype=dtype, order=order, subok=subok, shape=shape, device=device, heap=heap)


def ones_like(
    a: ArrayLike, dtype: DTypeLike | None = None, order: _Order = "K", subok: bool = True,
    shape: Shape | None = None, *, device: str | None = None, heap: Heap | None = None,
) -> Array:  # fmt: skip
    """`numpy.ones_like` on secret pages."""
    return made(np.ones_like, a, dtype=dtype, order=order, subok=subok, shape=shape, device=device, heap=heap)


def full_like(
    a: ArrayLike, fill_value: Any, dtype: DTypeLike | None = None, order: _Order = "K", subok: bool = True,
    shape: Shape | None = None, *, device: str | None = None, heap: Heap | None = None,
) -> Array:  # fmt: skip
    """`numpy.full_like` on secret pages."""
    return made(np.full_like, a, fill_value, dtype=dtype, order=order, subok=subok, shape=shape, device=device,
                heap=heap)  # fmt: skip


def frombuffer(
    buffer: Buffer, dtype: DTypeLike | None = None, count: int = -1, offset: int = 0, *,
    like: ArrayLike | None = None, heap: Heap | None = None,
) -> Array:  # fmt: skip
    """An array over a buffer in secret memory, a `SecureBytes` or a secret array, without a copy; else a copy there.

    A `SecureBytes` keeps its slot, and a guarded one its protection, while the array or a view of it lives. A
    copy is also made of what lies in another heap than the given one. The data is aligned as the buffer is: the start
    of a `SecureBytes` to 16 bytes.
    """

    def make(*given: Any, **more: Any) -> Array:
        return _brought(np.frombuffer(*given, **more), None, heap)

    return made(make, buffer, dtype=float if dtype is None else dtype, count=count, offset=offset, like=like, heap=heap)


# --- random numbers ---


def generator(heap: Heap | None = None) -> np.random.Generator:
    """A `numpy.random.Generator` whose every bit is of getrandom(2), drawn ahead on secret pages and wiped when used.

    There is no seed and no state, so that nothing that stays in memory tells its numbers. Its arrays are where numpy
    puts them: call it in `secure_arrays`, or with ``out=``.

    Other generators of numpy have their state in ordinary memory, from which follows all that they draw.
    """
    return np.random.Generator(BitSource(heap))  # type: ignore[arg-type]


def random(
    size: Shape | None = None, dtype: DTypeLike = np.float64, *, heap: Heap | None = None, guarded: bool = False
) -> Array:
    """Random numbers of getrandom(2) on secret pages: floats in [0, 1), integers over all that their dtype holds.

    Parameters
    ----------
    size : the shape; None: an array of no dimension, as a scalar would be an ordinary object
    dtype : float32, float64, or integers

    Raises
    ------
    TypeError : another dtype
    """
    kind = np.dtype(dtype)
    shape: Shape = () if size is None else size
    if kind.kind in "iu":
        result = empty(shape, kind, heap=heap)
        arraydata.fill_random(result, result.nbytes)
    elif kind == np.float64 or kind == np.float32:
        result = empty(shape, kind, heap=heap)
        generator(heap).random(dtype="f4" if kind.itemsize == 4 else "f8", out=result)
    else:
        raise TypeError(f"random numbers are float32, float64 or integers, not {kind}")
    return _guarded(result, heap) if guarded else result


# --- about any array ---


def _checked(a: Array) -> Array:
    if not isinstance(a, np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a numpy.ndarray is needed, not {type(a).__name__}")
    return a


def is_secret(a: Array) -> bool:
    """Whether the array's data, a view's included, lies on secret pages, of whichever backend.

    It goes by the address, and so sees through views, whatever they are of.
    """
    return arraydata.owns(_checked(a))


def backend(a: Array) -> Literal["secretmem", "mlock"] | None:
    """What holds the array's data, a view's included. None: ordinary memory, or a parent process's."""
    return arraydata.backend_of(_checked(a))


def owner(a: Array) -> SecureBytes | None:
    """The `SecureBytes` that the array is a view of: by `frombuffer`, or of ``guarded=True``. None: there is none.

    Protection is its matter. It can be raised when no array and no other view is out:

        >>> a = snp.zeros(1000, guarded=True)
        >>> key = snp.owner(a)
        >>> del a
        >>> key.noaccess()
        >>> with key.unlocked():
        ...     total = snp.frombuffer(key).sum()
    """
    base: object = _checked(a)
    while base is not None and not isinstance(base, SecureBytes):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    return base


def wipe(a: Array) -> None:
    """Zero the data that the array shows, at once; of a view of a part, that part. Ordinary arrays too.

    In a forked child there is nothing to wipe of the parent's, and nothing happens.

    Raises
    ------
    ValueError : the array is read-only
    ProtectedError : its heap is locked
    TypeError : it holds Python objects, or text of no fixed width, whose data is elsewhere
    """
    refuse(_checked(a).dtype)
    if not a.flags.writeable:
        raise ValueError("the array is read-only: it cannot be wiped")
    arraydata.wipe_data(a, a.itemsize, a.flags.forc)
