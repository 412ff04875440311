"""Keys from passwords and other secrets, written by existing libraries straight into secret pages.

PBKDF2 and scrypt are those of `cryptography`, Argon2id is that of `argon2-cffi`: these take a buffer to write to, where
`hashlib` answers ordinary bytes. ``pip install 'secalloc[kdf]'`` has both. HKDF is made here, of HMAC. What is left on
the stack is wiped.

Passwords, salts and the like are bytes-like; a SecureBytes is read where it is. What the arguments must be, and what is
raised otherwise, is the library's affair: TypeError and ValueError, or argon2's HashingError.
"""
from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any, SupportsIndex

from secalloc import Heap, SecureBytes
from secalloc_ext.residue import call_into, wipe_stack

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["argon2id", "hkdf", "pbkdf2_hmac", "scrypt"]

ARGON2_VERSION = 0x13


def pbkdf2_hmac(
    hash_name: str, password: Buffer, salt: Buffer, iterations: int, size: SupportsIndex, *, heap: Heap | None = None
) -> SecureBytes:
    """PBKDF2 (RFC 8018) with HMAC, as `hashlib.pbkdf2_hmac`."""
    pbkdf2 = _cryptography("pbkdf2")
    if index(iterations) >= 1 << 31:  # where the library panics: no Exception
        raise OverflowError("so many iterations are more than OpenSSL counts")
    key = SecureBytes(index(size), heap=heap)
    return _derive(pbkdf2.PBKDF2HMAC(_hash(hash_name), len(key), _public(salt), iterations), password, key)


def scrypt(
    password: Buffer, *, salt: Buffer, n: int, r: int, p: int, size: SupportsIndex = 64, heap: Heap | None = None
) -> SecureBytes:
    """scrypt (RFC 7914), as `hashlib.scrypt`. It takes 128 * n * r bytes of ordinary memory."""
    kdf = _cryptography("scrypt")
    if index(n) * index(r) >= 1 << 56:  # where the library panics: no Exception
        raise MemoryError("no machine has that much")
    key = SecureBytes(index(size), heap=heap)
    return _derive(kdf.Scrypt(_public(salt), len(key), n, r, p), password, key)


def hkdf(
    hash_name: str, secret: Buffer, size: SupportsIndex, *, salt: Buffer = b"", info: Buffer = b"",
    heap: Heap | None = None,
) -> SecureBytes:  # fmt: skip
    """HKDF (RFC 5869), for a secret that is no password. Each HMAC is the standard library's, its result wiped."""
    import hashlib

    length = hashlib.new(hash_name).digest_size
    context = _public(info)
    key = SecureBytes(index(size), heap=heap)
    if length == 0 or len(key) > 255 * length:
        raise ValueError(f"HKDF with {hash_name} makes at most {255 * length} bytes")
    # `message`: the block before, the context, the number of the block.
    with SecureBytes(length) as extracted, SecureBytes(length + len(context) + 1) as message:
        message[length:-1] = context
        _hmac(extracted, _public(salt) or bytes(length), secret, hash_name)
        for start in range(0, len(key), length):
            message[-1] += 1
            with memoryview(message)[0 if start else length :] as part:
                _hmac(message, extracted, part, hash_name)
            end = min(start + length, len(key))
            key[start:end] = message[: end - start]
    wipe_stack()
    return key


def argon2id(
    password: Buffer, *, salt: Buffer, time_cost: int = 3, memory_cost: int = 65536, parallelism: int = 4,
    size: SupportsIndex = 32, heap: Heap | None = None,
) -> SecureBytes:  # fmt: skip
    """Argon2id (RFC 9106). `memory_cost` is in KiB, of ordinary memory, which the library wipes. The defaults are the
    RFC's second choice, as argon2-cffi's."""
    argon2 = _argon2()
    key = SecureBytes(index(size), heap=heap)
    ffi = argon2.ffi
    with (
        ffi.from_buffer("uint8_t[]", key) as out,
        ffi.from_buffer("uint8_t[]", password) as pwd,
        ffi.from_buffer("uint8_t[]", salt) as salted,
    ):
        fields = {
            "out": out, "outlen": len(out), "pwd": pwd, "pwdlen": len(pwd), "salt": salted, "saltlen": len(salted),
            "t_cost": time_cost, "m_cost": memory_cost, "lanes": parallelism, "threads": parallelism,
            "version": ARGON2_VERSION, "flags": argon2.lib.ARGON2_DEFAULT_FLAGS,
        }  # fmt: skip
        code = argon2.core(ffi.new("argon2_context *", fields), argon2.Type.ID.value)
        wipe_stack()
    if code != argon2.lib.ARGON2_OK:
        from argon2.exceptions import HashingError

        raise HashingError(argon2.error_to_str(code))
    return key


def _derive(kdf: Any, secret: Buffer, key: SecureBytes) -> SecureBytes:
    try:
        with memoryview(secret) as view:  # whose errors are its own, not the library's
            kdf.derive_into(view, key)
    finally:
        wipe_stack()
    return key


def _hmac(to: SecureBytes, key: Buffer, message: Buffer, hash_name: str) -> None:
    """HMAC to the start of `to`."""
    import hmac

    with memoryview(message) as view:
        call_into(to, hmac.digest, key, view, hash_name)


def _public(data: Buffer) -> bytes:
    """A copy of what is no secret."""
    return memoryview(data).tobytes()


def _hash(name: str) -> Any:
    from cryptography.hazmat.primitives import hashes

    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the name of a hash is a str, not {type(name).__name__}")
    found = getattr(hashes, name.upper(), None) if name.lower().startswith(("sha", "md5", "sm3")) else None
    if found is None:
        raise ValueError(f"unsupported hash type {name}")
    return found()


def _cryptography(name: str) -> Any:
    """A module of cryptography.hazmat.primitives.kdf."""
    try:
        from cryptography.hazmat.primitives.kdf import pbkdf2, scrypt

        if not hasattr(scrypt.Scrypt, "derive_into"):
            raise ImportError("it cannot derive into a buffer")
    except ImportError as error:
        raise ImportError("needs cryptography, version 47 or later: pip install 'secalloc[kdf]'") from error
    return {"pbkdf2": pbkdf2, "scrypt": scrypt}[name]


def _argon2() -> Any:
    try:
        from argon2 import low_level
    except ImportError as error:
        raise ImportError("needs argon2-cffi: pip install 'secalloc[kdf]'") from error
    return low_level
