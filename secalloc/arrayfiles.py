"""Arrays from and into files, by read(2) and write(2) on the secret pages themselves: no buffer of stdio, or of Python.

A file is a path, a descriptor, or an object. What `open` gives is read and written by its descriptor, past its own
buffer, from where it stands; another object's ``readinto`` or ``write`` gets the secret pages, and does with them what
it does: a socket's file or a gzip file has buffers in ordinary memory.
"""
from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format
from numpy.typing import ArrayLike, DTypeLike

from secalloc.arrays import Array, array, empty, refuse
from secalloc_ext.heapobject import Heap

__all__ = ["fromfile", "load", "save"]

File = str | bytes | os.PathLike[str] | os.PathLike[bytes] | int | IO[bytes]
PATHS = (str, bytes, os.PathLike)


def _descriptor_of(file: IO[bytes]) -> int | None:
    """Of a file of `open`'s, with or without a buffer. Others may have one too, of something else than they give."""
    raw: object = getattr(file, "raw", file)
    return raw.fileno() if isinstance(raw, io.FileIO) else None


# --- reading ---


class _Source:
    """A file that is read from; `read_into` fills as much of a view as a single read gives, 0 at the end."""

    def __init__(self, read_into: Callable[[memoryview], int], left: int | None = None) -> None:
        self.read_into = read_into
        self.left = left  # bytes to the end, where that can be known

    def fill(self, target: Array) -> int:
        """Fill contiguous data as far as the file goes; answers the bytes read."""
        view = _bytes_of(target).data
        done = 0
        while done < len(view):
            got = self.read_into(view[done:])
            if got == 0:
                break
            done += got
        return done

    def read(self, size: int = -1) -> bytes:
        """Ordinary bytes: of the header, for numpy's parser."""
        data = bytearray(max(size, 0))
        view = memoryview(data)
        done = 0
        while done < size:
            got = self.read_into(view[done:])
            if got == 0:
                break
            done += got
        return bytes(view[:done])


def _bytes_of(a: Array) -> Array:
    """Contiguous data, of either order and any dtype, as one row of bytes."""
    row = (a if a.flags.c_contiguous else a.T).reshape(-1)
    return row.view(np.uint8) if a.nbytes else np.empty(0, np.uint8)


@contextmanager
def _source(file: File, offset: int) -> Generator[_Source]:
    if isinstance(file, PATHS):
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield _of_descriptor(fd, offset)
        finally:
            os.close(fd)
    elif isinstance(file, int):
        yield _of_descriptor(file, offset)
    else:
        yield from _of_object(file, offset)


def _of_descriptor(fd: int, offset: int) -> _Source:
    """Read where the descriptor stands."""
    left = None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        left = max(0, os.fstat(fd).st_size - os.lseek(fd, offset, os.SEEK_CUR))
    elif offset:
        os.lseek(fd, offset, os.SEEK_CUR)  # an OSError, of a pipe
    return _Source(lambda view: os.readv(fd, [view]), left)


def _of_object(file: IO[bytes], offset: int) -> Generator[_Source]:
    """Read where the object stands, which is not where its descriptor does, and leave it behind what was read."""
    fd = _descriptor_of(file)
    if fd is None:
        if offset:
            file.seek(offset, os.SEEK_CUR)
        yield _Source(lambda view: file.readinto(view) or 0)  # type: ignore[attr-defined]
        return
    if not file.seekable():
        yield _of_descriptor(fd, offset)
        return
    position = file.tell() + offset

    def read_into(view: memoryview) -> int:
        nonlocal position
        got = os.preadv(fd, [view], position)
        position += got
        return got

    yield _Source(read_into, max(0, os.fstat(fd).st_size - position) if stat.S_ISREG(os.fstat(fd).st_mode) else None)
    file.seek(position)


def fromfile(
    file: File, dtype: DTypeLike | None = None, count: int = -1, sep: str = "", offset: int = 0, *,
    like: ArrayLike | None = None, heap: Heap | None = None,
) -> Array:  # fmt: skip
    """`numpy.fromfile` of binary data, read straight into secret pages; also of descriptors, pipes and sockets.

    Parameters
    ----------
    sep : "", as text would be parsed in buffers in ordinary memory

    Raises
    ------
    OSError : as ``open`` and ``read`` do
    """
    if sep:
        raise ValueError("text is parsed in buffers in ordinary memory: only binary data is read, with sep=''")
    one = np.empty(0, dtype).dtype
    refuse(one)
    with _source(file, offset) as source:
        if count < 0 and source.left is None:
            return _to_the_end(source, one, heap)
        if source.left is not None:
            most = source.left // one.itemsize
            count = most if count < 0 else min(count, most)
        result = empty(count, one, like=like, heap=heap)
        items = source.fill(result) // one.itemsize
    if items < count:
        result.resize(items, refcheck=False)
    return result


def _to_the_end(source: _Source, dtype: np.dtype[Any], heap: Heap | None) -> Array:
    """Of what cannot say how much there is. The data grows on secret pages; what it leaves is wiped."""
    done = 0
    raw = empty(4096, np.uint8, heap=heap)
    while got := source.fill(raw[done:]):
        done += got
        if done == raw.size:
            raw.resize(2 * raw.size, refcheck=False)
    return array(raw[: done // dtype.itemsize * dtype.itemsize].view(dtype), heap=heap)


def load(
    file: File, mmap_mode: None = None, allow_pickle: bool = False, fix_imports: bool = True, encoding: str = "ASCII",
    *, max_header_size: int = 10_000, heap: Heap | None = None,
) -> Array:  # fmt: skip
    """`numpy.load` of a .npy file, its data read straight into secret pages.

    Refused are pickles, as they are made in ordinary memory; mapped files, which are ordinary memory; and .npz
    archives, which are unpacked by way of it.

    Raises
    ------
    ValueError : the file is none of this kind, damaged or too short; or asked for what is refused
    TypeError : it holds Python objects
    """
    if allow_pickle:
        raise ValueError("what is unpickled is made in ordinary memory: allow_pickle is refused")
    if mmap_mode is not None:
        raise ValueError("a mapped file is ordinary memory: mmap_mode is refused")
    with _source(file, 0) as source:
        shape, fortran, dtype = _read_header(source, max_header_size)
        refuse(dtype)
        result = empty(shape, dtype, "F" if fortran else "C", heap=heap)
        if source.fill(result) < result.nbytes:
            raise ValueError(f"the file ends before the data: {result.nbytes} bytes of {shape} {dtype} were expected")
    return result


def _read_header(source: _Source, max_header_size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    start = source.read(format.MAGIC_LEN)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        raise ValueError("a .npz archive is unpacked in ordinary memory: save its arrays one by one, as .npy")
    version = format.read_magic(io.BytesIO(start))
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of the .npy format is not known")
    size = source.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(size, "little")
    if length > max_header_size:
        raise ValueError(f"the header has {length} bytes, more than max_header_size")
    header = source.read(length)
    if version == (3, 0):  # of names beyond Latin-1: as escapes they are no other than version 2 reads
        header = header.decode("utf-8").encode("ascii", "backslashreplace")
        size = len(header).to_bytes(4, "little")
    read = format.read_array_header_1_0 if version == (1, 0) else format.read_array_header_2_0
    try:
        return read(io.BytesIO(size + header), max_header_size=max(max_header_size, len(header)))
    except TokenError as error:
        raise ValueError("the header cannot be parsed") from error


# --- writing ---


@contextmanager
def _sink(file: File) -> Generator[Callable[[memoryview], int]]:
    if isinstance(file, PATHS):
        path = os.fsencode(file)
        fd = os.open(path if path.endswith(b".npy") else path + b".npy",
                     os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)  # fmt: skip
        try:
            yield lambda view: os.write(fd, view)
        finally:
            os.close(fd)
    elif isinstance(file, int):
        yield lambda view: os.write(file, view)
    else:
        own = _descriptor_of(file)
        if own is None:
            yield file.write
        else:
            file.flush()
            yield lambda view: os.write(own, view)


def save(file: File, arr: ArrayLike, allow_pickle: bool = False, *, heap: Heap | None = None) -> None:
    """`numpy.save`, by write(2) of the secret pages themselves.

    A path gets the ending .npy if it has none; a new file is its owner's alone (mode 600). What is not contiguous is
    first made so on secret pages.

    Parameters
    ----------
    file : path, descriptor or object
    allow_pickle : refused: pickles are made in ordinary memory
    heap : for the contiguous copy

    Raises
    ------
    OSError : as ``open`` and ``write`` do; what was written till then stays written
    TypeError : an array of Python objects, or of text of no fixed width
    """
    if allow_pickle:
        raise ValueError("a pickle is made in ordinary memory: allow_pickle is refused")
    a: Array = np.asanyarray(arr)
    refuse(a.dtype)
    if not a.flags.forc:
        a = array(a, order="C", heap=heap)
    with _sink(file) as write:
        for part in (memoryview(_header_of(a)), _bytes_of(a).data):
            done = 0
            while done < len(part):
                done += write(part[done:])


class _Escaped:
    """A description of a dtype whose names are beyond Latin-1, as version 1 of the format can hold it."""

    def __init__(self, description: object) -> None:
        self.description = description

    def __repr__(self) -> str:
        return ascii(self.description)


def _header_of(a: Array) -> bytes:
    told = format.header_data_from_array_1_0(a)
    if not repr(told["descr"]).isascii():
        told["descr"] = _Escaped(told["descr"])
    for write in (format.write_array_header_1_0, format.write_array_header_2_0):
        result = io.BytesIO()
        try:
            write(result, told)
        except ValueError:  # too long for version 1
            continue
        return result.getvalue()
    raise ValueError("the dtype is too long to be described in a .npy file")
