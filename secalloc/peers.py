"""The allocators that secalloc is measured beside, each behind the same small face.

A peer is loaded from the library that the system has, is set up as its own documentation says, and tells its version
and the file it came from. One that is not there says why instead of taking part.
"""
from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import secalloc
from secalloc_ext import api
from secalloc_ext.heapobject import Heap
from secalloc_ext.loops import Peer, bare_functions

__all__ = ["Absent", "Found", "find_peer", "find_peers", "heap_peer"]

POOL_BYTES = 16 << 20  # of the peers that have a pool of fixed size; OpenSSL's gets slower with it
HARDENED_MALLOC = "SECALLOC_BENCH_HARDENED_MALLOC"  # path of a libhardened_malloc.so


@dataclass(frozen=True)
class Found:
    """A peer that takes part. `objects_max`: how many live objects it can be asked for."""

    name: str
    version: str
    path: str
    peer: Peer
    objects_max: int = 10**9


@dataclass(frozen=True)
class Absent:
    name: str
    reason: str


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


def _path(address: int) -> str:
    """The file that is mapped at an address."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, *_, name = line.split(maxsplit=5)
            first, last = (int(part, 16) for part in span.split("-"))
            if first <= address < last:
                return name.strip()
    return "?"


def _found(
    name: str, version: str, alloc: object, release: object, way: str = "plain", objects_max: int = 10**9
) -> Found:
    addresses = _address(alloc), _address(release)
    return Found(name, version, _path(addresses[0]), Peer(*addresses, way), objects_max)


def _secalloc(pool: int) -> Found:
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsules = (api.__pyx_capi__[f"secalloc_{function}"] for function in ("malloc", "free"))
    alloc, release = (pointer_of(capsule, name_of(capsule)) for capsule in capsules)
    return Found("secalloc", secalloc.__version__, api.__file__ or "?", Peer(alloc, release))


def heap_peer(name: str, heap: Heap) -> Found:
    """secalloc again, in a heap with other options."""
    return Found(name, secalloc.__version__, api.__file__ or "?", Peer(heap=heap))


def _glibc(pool: int) -> Found:
    libc = ctypes.CDLL("libc.so.6")
    libc.gnu_get_libc_version.restype = ctypes.c_char_p
    version = libc.gnu_get_libc_version().decode()
    return _found("malloc + explicit_bzero", version, libc.malloc, libc.free, "wiping")


def _libsodium(pool: int) -> Found:
    sodium = ctypes.CDLL("libsodium.so.23")
    sodium.sodium_version_string.restype = ctypes.c_char_p
    if sodium.sodium_init() < 0:
        raise OSError("sodium_init() failed")
    version = sodium.sodium_version_string().decode()
    return _found("libsodium", version, sodium.sodium_malloc, sodium.sodium_free, objects_max=1000)


def _openssl(pool: int) -> Found:
    crypto = ctypes.CDLL("libcrypto.so.3")
    crypto.OpenSSL_version.restype = ctypes.c_char_p
    if crypto.CRYPTO_secure_malloc_init(ctypes.c_size_t(pool), ctypes.c_size_t(16)) < 1:
        raise OSError("CRYPTO_secure_malloc_init() failed")
    version = crypto.OpenSSL_version(0).decode()
    return _found("OpenSSL secure heap", version, crypto.CRYPTO_secure_malloc, crypto.CRYPTO_secure_clear_free, "at")


def _libgcrypt(pool: int) -> Found:
    init_secmem, finished = 24, 38  # GCRYCTL_INIT_SECMEM, GCRYCTL_INITIALIZATION_FINISHED
    gcrypt = ctypes.CDLL("libgcrypt.so.20")
    gcrypt.gcry_check_version.restype = ctypes.c_char_p
    version = gcrypt.gcry_check_version(None).decode()
    gcrypt.gcry_control(init_secmem, pool, 0)
    gcrypt.gcry_control(finished, 0)
    return _found("libgcrypt", version, gcrypt.gcry_malloc_secure, gcrypt.gcry_free, objects_max=10_000)


def _hardened_malloc(pool: int) -> Found:
    path = os.environ.get(HARDENED_MALLOC)
    if path is None:
        raise OSError(f"{HARDENED_MALLOC} names no libhardened_malloc.so; it wipes by itself")
    library = ctypes.CDLL(path)
    return _found("hardened_malloc", "as built", library.malloc, library.free)


def _mimalloc(pool: int) -> Found:
    library = ctypes.CDLL("libmimalloc.so.2")
    version = str(library.mi_version())
    return _found("mimalloc + explicit_bzero", version, library.mi_malloc, library.mi_free, "wiping")


def _bare(pool: int) -> Found:
    return Found("one memfd_secret each", platform.release(), "the kernel", Peer(*bare_functions(), "at"), 1000)


_MAKERS: dict[str, Callable[[int], Found]] = {
    "secalloc": _secalloc, "malloc + explicit_bzero": _glibc, "mimalloc + explicit_bzero": _mimalloc,
    "hardened_malloc": _hardened_malloc, "libgcrypt": _libgcrypt, "OpenSSL secure heap": _openssl,
    "libsodium": _libsodium, "one memfd_secret each": _bare,
}  # fmt: skip


def find_peer(name: str, pool: int = POOL_BYTES) -> Found | Absent:
    """One of them, or why it cannot take part. `pool`: bytes, of a peer that has one; it has one in a process."""
    return _find(name, pool)


@cache
def _find(name: str, pool: int) -> Found | Absent:
    try:
        return _MAKERS[name](pool)
    except (OSError, AttributeError) as error:
        return Absent(name, str(error))


def find_peers() -> list[Found | Absent]:
    """All of them: secalloc, libc, the others."""
    return [find_peer(name) for name in _MAKERS]
