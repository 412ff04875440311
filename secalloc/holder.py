"""The process that `secalloc demo` attacks: it holds secrets, each kind once in ordinary and once in secret memory.

The two never have the same value, so that what is found tells where it was found. The value in secret memory is made
there: key and password come into this process through no other page. As a program it writes one line of JSON, a
`secalloc.attacks.Target`, and holds on until its standard input ends. It takes two arguments, which may be empty: the
user id to run as, and "careless" for an ordinary copy of the secret key beside it.
"""
from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from secalloc import SecureBytes
from secalloc.attacks import Needle, Target, become

__all__ = ["hold", "needle_of"]

SYS_MEMFD_SECRET = 447
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# PKCS #8 of RFC 8410: what stands before the 32 bytes of an Ed25519 private key.
PKCS8_ED25519 = bytes.fromhex("302e020100300506032b657004220420")
ARRAY_BYTES = 1 << 20


def address_of(data: Any) -> int:
    """Where a writable buffer begins."""
    return ctypes.addressof(ctypes.c_char.from_buffer(data))


def needle_of(name: str, data: Sequence[int], address: int) -> Needle:
    """Code the bytes of `data`, one by one: no copy of them is made on the way."""
    pad = os.urandom(len(data))
    return Needle(name, pad.hex(), bytes(byte ^ mask for byte, mask in zip(data, pad, strict=True)).hex(), address)


def _openssl_key(openssl: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([openssl, "genpkey", "-algorithm", "ed25519", "-outform", "DER"], stdout=subprocess.PIPE)


def make_key() -> tuple[bytes, SecureBytes]:
    """Two Ed25519 private keys, by the openssl program where there is one: an ordinary and a secret one."""
    openssl = shutil.which("openssl")
    if openssl is None:
        secret = SecureBytes(48)
        secret[:16] = PKCS8_ED25519
        secret[16:] = SecureBytes.random(32)
        return PKCS8_ED25519 + os.urandom(32), secret
    with _openssl_key(openssl) as program:
        assert program.stdout is not None
        ordinary = program.stdout.read()
    with _openssl_key(openssl) as program:
        assert program.stdout is not None
        secret = SecureBytes.from_file(program.stdout.fileno())
    return ordinary, secret


def make_password() -> tuple[str, SecureBytes]:
    ordinary = "".join(chr(ALPHABET[byte & 63]) for byte in os.urandom(24))
    secret = SecureBytes.random(24)
    for i in range(len(secret)):
        secret[i] = ALPHABET[secret[i] & 63]
    return ordinary, secret


def make_arrays() -> tuple[Any, Any] | None:
    """A megabyte of random float64, twice; None without numpy."""
    try:
        import numpy as np

        import secalloc.numpy as snp
    except ImportError:
        return None
    rng = np.random.default_rng()
    secret = snp.empty(ARRAY_BYTES // 8)
    rng.random(out=secret)
    return rng.random(ARRAY_BYTES // 8), secret


def make_open_files() -> tuple[mmap.mmap, mmap.mmap]:
    """What the attacks on descriptors and mapped files do find: shared memory, and secret memory, left open."""
    shared = os.memfd_create("shared")
    secret = ctypes.CDLL(None, use_errno=True).syscall(SYS_MEMFD_SECRET, os.O_CLOEXEC)
    maps = []
    for fd in (shared, secret):
        os.ftruncate(fd, mmap.PAGESIZE)
        memory = mmap.mmap(fd, mmap.PAGESIZE)
        memory[:32] = os.urandom(32)
        maps.append(memory)
    return maps[0], maps[1]


def hold(*, careless: bool = False) -> tuple[Target, list[Any]]:
    """Make everything; answers what to look for, and the objects to keep alive.

    `careless` also keeps an ordinary copy of the secret key: what an attack must find then. For tests of the demo.
    """
    key, secret_key = make_key()
    password, secret_password = make_password()
    keep: list[Any] = [key, secret_key, password, secret_password]
    needles = [
        needle_of("ordinary key", key[-32:], id(key) + bytes.__basicsize__ - 1 + len(key) - 32),
        needle_of("secret key", memoryview(secret_key)[-32:], address_of(secret_key) + len(secret_key) - 32),
        needle_of("ordinary password", password.encode(), id(password) + sys.getsizeof("") - 1),
        needle_of("secret password", memoryview(secret_password), address_of(secret_password)),
    ]
    arrays = make_arrays()
    if arrays is not None:
        for name, array in zip(("ordinary array", "secret array"), arrays, strict=True):
            data = memoryview(array).cast("B")[ARRAY_BYTES // 2 :][:64]
            needles.append(needle_of(name, data, array.ctypes.data + ARRAY_BYTES // 2))
        keep.append(arrays)
    for name, memory in zip(("shared memory", "open memfd_secret"), make_open_files(), strict=True):
        needles.append(needle_of(name, memoryview(memory)[:32], address_of(memory)))
        keep.append(memory)
    if careless:
        keep.append(bytes(secret_key))
    return Target(os.getpid(), needles), keep


def main() -> None:
    uid, careless = sys.argv[1:]
    with contextlib.suppress(ImportError):  # while the interpreter's folders can be read
        importlib.import_module("numpy.random")
        importlib.import_module("secalloc.numpy")
    if uid:
        become(int(uid))
    target, _keep = hold(careless=careless == "careless")
    print(json.dumps(asdict(target)), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
