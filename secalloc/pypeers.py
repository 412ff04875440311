"""What Python offers for a secret of a few bytes, each behind the same small face: make one, use it up, let it go.

A peer is used as its own documentation says. Those that wipe have to be told to: that belongs to what is timed. One
that is not installed says so instead of taking part.
"""
from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from types import ModuleType

import secalloc
from secalloc.peers import Absent

__all__ = ["PythonPeer", "find_python_peers"]

Cycle = Callable[[bytes], object]


@dataclass(frozen=True)
class PythonPeer:
    """`cycle(data)` makes an object of these bytes and lets it go; what it answers, if anything, is that object."""

    name: str
    version: str
    path: str
    cycle: Cycle


def _path(module: ModuleType) -> str:
    return module.__file__ or "built in"


def _secalloc() -> PythonPeer:
    return PythonPeer("SecureBytes", secalloc.__version__, _path(secalloc), secalloc.SecureBytes)


def _bytearray() -> PythonPeer:
    return PythonPeer("bytearray, not wiped", platform.python_version(), "built in", bytearray)


def _zeroize() -> PythonPeer:
    """Locks a page of ordinary memory, and unlocks it, with whatever else lies there."""
    module = import_module("zeroize")
    lock, wipe, unlock = module.mlock, module.zeroize1, module.munlock

    def cycle(data: bytes) -> None:
        secret = bytearray(data)
        lock(secret)
        wipe(secret)
        unlock(secret)

    return PythonPeer("bytearray + zeroize", version("zeroize"), _path(module), cycle)


def _securebytes() -> PythonPeer:
    """The package of that name: wipes what it is given, by address."""
    module = import_module("SecureBytes")
    wipe = module.clearmem

    def cycle(data: bytes) -> None:
        wipe(bytearray(data))

    return PythonPeer("bytearray + SecureBytes.clearmem", version("SecureBytes"), _path(module), cycle)


def _securestring() -> PythonPeer:
    module = import_module("SecureString")
    wipe = module.clearmem

    def cycle(data: bytes) -> None:
        wipe(data[:1] + data[1:])  # it takes bytes only: a copy, of which nobody else knows

    return PythonPeer("bytes + SecureString.clearmem", version("SecureString"), _path(module), cycle)


def _sodium() -> PythonPeer:
    """There is no package that offers it: as one would do it by hand."""
    library = ctypes.CDLL("libsodium.so.23")
    library.sodium_version_string.restype = ctypes.c_char_p
    make, drop = library.sodium_malloc, library.sodium_free
    make.restype, make.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    drop.restype, drop.argtypes = None, [ctypes.c_void_p]
    if library.sodium_init() < 0:
        raise OSError("sodium_init() failed")
    move = ctypes.memmove

    def cycle(data: bytes) -> None:
        pointer = make(len(data))
        move(pointer, data, len(data))
        drop(pointer)

    return PythonPeer("sodium_malloc by ctypes", library.sodium_version_string().decode(), library._name, cycle)


def _pynacl() -> PythonPeer:
    module = import_module("nacl._sodium")
    make, drop, move = module.lib.sodium_malloc, module.lib.sodium_free, module.ffi.memmove

    def cycle(data: bytes) -> None:
        pointer = make(len(data))
        move(pointer, data, len(data))
        drop(pointer)

    return PythonPeer("PyNaCl", version("PyNaCl"), _path(module), cycle)


_MAKERS: dict[str, Callable[[], PythonPeer]] = {
    "SecureBytes": _secalloc, "bytearray, not wiped": _bytearray, "bytearray + zeroize": _zeroize,
    "bytearray + SecureBytes.clearmem": _securebytes, "bytes + SecureString.clearmem": _securestring,
    "sodium_malloc by ctypes": _sodium, "PyNaCl": _pynacl,
}  # fmt: skip


def find_python_peers() -> list[PythonPeer | Absent]:
    """All of them, secalloc first; those that cannot take part with the reason."""
    found: list[PythonPeer | Absent] = []
    for name, make in _MAKERS.items():
        try:
            found.append(make())
        except (ImportError, OSError, AttributeError) as error:
            found.append(Absent(name, str(error)))
    return found
