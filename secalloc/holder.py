"""The process that `secalloc demo` attacks: it holds secrets, each kind once in ordinary and once in secret memory.

The two never have the same value, so that what is found tells where it was found. The value in secret memory is made
there: key and password come into this process through no other page.

As a program it writes one line of JSON, a `Held`, or why it cannot hold anything. Then it answers each line of its
standard input, until that ends: an empty one with the names of the needles that are still in place, an `Order` with the
outcomes of these attacks, which it makes on itself. It takes two arguments,
which may be empty: "careless" for ordinary copies of the secrets, and the user id to run as.
"""
from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import json
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from secalloc import SecallocError, SecureBytes
from secalloc.attacks import Needle, Order, Target, attack, become

__all__ = ["Held", "Missing", "address_of", "hold", "intact", "leak", "needle_of", "serve"]

_libc = ctypes.CDLL(None, use_errno=True)
SYS_MEMFD_SECRET = 447
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# PKCS #8 of RFC 8410: what stands before the 32 bytes of an Ed25519 private key.
PKCS8_ED25519 = bytes.fromhex("302e020100300506032b657004220420")
KEY_FILE_BYTES = len(PKCS8_ED25519) + 32
# The library's turn where there is no program: also in a process of its own, so that no copy stays in this one.
KEY_BY_LIBRARY = """
import sys
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
key = Ed25519PrivateKey.generate()
sys.stdout.buffer.write(key.private_bytes(s.Encoding.DER, s.PrivateFormat.PKCS8, s.NoEncryption()))
"""
ARRAY_BYTES = 1 << 20
SAMPLE_BYTES = 64  # of an array: what is looked for


@dataclass
class Held:
    """What is held: the needles, why a kind is missing, and the objects to keep alive."""

    needles: list[Needle] = field(default_factory=list[Needle])
    missing: dict[str, str] = field(default_factory=dict[str, str])
    objects: list[Any] = field(default_factory=list[Any])

    def add(self, name: str, data: Sequence[int], address: int) -> None:
        self.needles.append(needle_of(name, data, address))

    def in_place(self) -> list[str]:
        """The names of the needles whose bytes are at their addresses."""
        return [needle.name for needle in self.needles if intact(needle)]

    def told(self) -> dict[str, Any]:
        """What the process that started this one may know."""
        return {"target": asdict(Target(os.getpid(), self.needles)), "missing": self.missing}


class Missing(Exception):
    """This kind of secret cannot be made here; the message says why."""


def address_of(data: Any) -> int:
    """Where a writable buffer begins."""
    return ctypes.addressof(ctypes.c_char.from_buffer(data))


def needle_of(name: str, data: Sequence[int], address: int) -> Needle:
    """Code the bytes of `data`, one by one: no copy of them is made on the way."""
    pad = os.urandom(len(data))
    return Needle(name, pad.hex(), bytes(byte ^ mask for byte, mask in zip(data, pad, strict=True)).hex(), address)


def intact(needle: Needle) -> bool:
    """Whether the needle's bytes are at its address, seen one by one. If not, not finding them would mean nothing."""
    return needle.is_at((ctypes.c_ubyte * needle.size).from_address(needle.address))


def _key_commands() -> list[list[str]]:
    openssl = shutil.which("openssl")
    commands = [] if openssl is None else [[openssl, "genpkey", "-algorithm", "ed25519", "-outform", "DER"]]
    if importlib.util.find_spec("cryptography") is not None:
        commands.append([sys.executable, "-P", "-c", KEY_BY_LIBRARY])
    return commands


def make_key() -> tuple[bytes, SecureBytes]:
    """Two Ed25519 private keys in PKCS #8, an ordinary and a secret one, each by another process through a pipe."""
    for command in _key_commands():
        with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            ordinary = program.stdout.read()
        if program.returncode != 0 or len(ordinary) != KEY_FILE_BYTES:
            continue  # an openssl that is too old for Ed25519
        with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            secret = SecureBytes.from_file(program.stdout.fileno())
        if program.returncode == 0 and len(secret) == KEY_FILE_BYTES:
            return ordinary, secret
    raise Missing("no private key can be made: install the openssl program or the cryptography library")


def make_password() -> tuple[str, SecureBytes]:
    ordinary = "".join(chr(ALPHABET[byte & 63]) for byte in os.urandom(24))
    secret = SecureBytes.random(24)
    for i in range(len(secret)):
        secret[i] = ALPHABET[secret[i] & 63]
    return ordinary, secret


def make_arrays() -> tuple[Any, Any]:
    """A megabyte of random float64, in ordinary and in secret memory."""
    try:
        import numpy as np

        import secalloc.numpy as snp
    except ImportError as error:
        raise Missing("numpy is not installed: pip install 'secalloc[numpy]'") from error
    rng = np.random.default_rng()
    secret = snp.empty(ARRAY_BYTES // 8)
    rng.random(out=secret)
    return rng.random(ARRAY_BYTES // 8), secret


def make_open_file(fd: int) -> mmap.mmap:
    """What the attacks on descriptors and mapped files do find: random bytes in a file that is left open, to children
    as well."""
    if fd < 0:
        raise Missing(os.strerror(ctypes.get_errno()))
    try:
        os.set_inheritable(fd, True)
        os.ftruncate(fd, mmap.PAGESIZE)
        memory = mmap.mmap(fd, mmap.PAGESIZE)
    except OSError as error:
        raise Missing(str(error.strerror)) from error
    memory[:32] = os.urandom(32)
    return memory


def _hold_key(held: Held) -> None:
    key, secret = make_key()
    held.objects += key, secret
    at = len(PKCS8_ED25519)
    held.add("ordinary key", key[at:], id(key) + bytes.__basicsize__ - 1 + at)
    held.add("secret key", memoryview(secret)[at:], address_of(secret) + at)


def _hold_password(held: Held) -> None:
    password, secret = make_password()
    held.objects += password, secret
    held.add("ordinary password", password.encode(), id(password) + sys.getsizeof("") - 1)
    held.add("secret password", memoryview(secret), address_of(secret))


def _hold_arrays(held: Held) -> None:
    middle = ARRAY_BYTES // 2
    for name, array in zip(("ordinary array", "secret array"), make_arrays(), strict=True):
        sample = memoryview(array).cast("B")[middle:][:SAMPLE_BYTES]
        held.add(name, sample, array.ctypes.data + middle)
        held.objects.append(array)


def _hold_shared(held: Held) -> None:
    _hold_file(held, "shared memory", os.memfd_create("shared"))


def _hold_bare(held: Held) -> None:
    _hold_file(held, "open memfd_secret", _libc.syscall(SYS_MEMFD_SECRET, os.O_CLOEXEC))


def _hold_file(held: Held, name: str, fd: int) -> None:
    memory = make_open_file(fd)
    held.add(name, memoryview(memory)[:32], address_of(memory))
    held.objects.append(memory)


def leak(held: Held) -> None:
    """Copy the secrets to shared memory whose descriptor stays open: there every attack finds them."""
    fd = os.memfd_create("leak", 0)  # which children inherit
    os.ftruncate(fd, mmap.PAGESIZE)
    shared = mmap.mmap(fd, mmap.PAGESIZE)
    for i, needle in enumerate(held.needles):
        if needle.name.startswith("secret "):
            address = address_of(shared) + shared.tell()
            shared.write(needle.plain())
            held.needles[i] = replace(needle, address=address)
    held.objects.append(shared)


# The small ones first: a low RLIMIT_MEMLOCK leaves no room for the array.
KINDS: dict[str, Callable[[Held], None]] = {
    "shared memory": _hold_shared,
    "open memfd_secret": _hold_bare,
    "key": _hold_key,
    "password": _hold_password,
    "array": _hold_arrays,
}


def hold(*, careless: bool = False) -> Held:
    """Make everything. `careless` also keeps ordinary copies of the secrets: the demo must notice. For its tests."""
    held = Held()
    for kind, make in KINDS.items():
        try:
            make(held)
        except (Missing, SecallocError) as reason:
            held.missing[kind] = str(reason)
    if careless:
        leak(held)
    return held


def serve(make: Callable[[], Held], uid: str) -> None:
    """Be a holder: become the user, make what is to be held, tell it, answer questions until there are no more."""
    with contextlib.suppress(ImportError):  # while the interpreter's folders can be read
        importlib.import_module("numpy.random")
        importlib.import_module("secalloc.numpy")
    if uid:
        try:
            become(int(uid))
        except OSError as reason:
            print(json.dumps({"refused": f"cannot become user {uid}: {reason.strerror}"}), flush=True)
            return
    held = make()
    print(json.dumps(held.told()), flush=True)
    for line in sys.stdin:
        print(json.dumps(_attacked(line) if line.strip() else held.in_place()), flush=True)


def _attacked(line: str) -> list[dict[str, Any]]:
    order = Order.from_json(line)
    return [asdict(attack(name, order.target)) for name in order.attacks]


def main() -> None:
    careless, uid = sys.argv[1:]
    serve(lambda: hold(careless=careless == "careless"), uid)


if __name__ == "__main__":
    main()
