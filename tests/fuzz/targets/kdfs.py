"""Keys from passwords and other keys, beside the standard library's and argon2-cffi's own."""
import hashlib
import hmac

import argon2.exceptions
import argon2.low_level
from hypothesis import given
from hypothesis import strategies as st

from fuzz.behaviour import saw
from fuzz.compare import alike, is_error, outcome
from fuzz.values import CONTENT, SOME, sources
from fuzz.ways import Ways
from secalloc import SecureBytes, kdf

BUFFERS = sources(CONTENT, ("bytes", "bytearray", "view", "SecureBytes", "array"))
HASHES = st.sampled_from(["sha256", "sha512", "SHA1", "sha3_256", "sha224"])
OUTPUTS = st.one_of(st.integers(1, 70), st.sampled_from([4_096, 1, 64]))
way = Ways()


@way(HASHES, BUFFERS, SOME, st.integers(1, 3), OUTPUTS)
def pbkdf2_hmac(name, password, salt, iterations, size):
    plain = bytes(password.make())
    alike("pbkdf2", lambda: kdf.pbkdf2_hmac(name, password.make(), salt, iterations, size),
          lambda: hashlib.pbkdf2_hmac(name, plain, salt, iterations, size), size)  # fmt: skip


@way(BUFFERS, SOME, st.sampled_from([2, 4, 16]), st.integers(1, 3), st.integers(1, 2), OUTPUTS)
def scrypt(password, salt, n, r, p, size):
    plain = bytes(password.make())
    alike("scrypt", lambda: kdf.scrypt(password.make(), salt=salt, n=n, r=r, p=p, size=size),
          lambda: hashlib.scrypt(plain, salt=salt, n=n, r=r, p=p, dklen=size), size)  # fmt: skip


@way(HASHES, BUFFERS, SOME, SOME, st.one_of(OUTPUTS, st.just(20_000)))
def hkdf(name, secret, salt, info, size):
    """By the letter of RFC 5869."""

    def model():
        width = hashlib.new(name).digest_size
        if size > 255 * width:
            raise ValueError
        key = hmac.digest(salt or bytes(width), bytes(secret.make()), name)
        whole = block = b""
        for i in range(-(-size // width)):
            block = hmac.digest(key, block + info + bytes([i + 1]), name)
            whole += block
        return whole[:size]

    alike("hkdf", lambda: kdf.hkdf(name, secret.make(), size, salt=salt, info=info), model, size)


@way(BUFFERS, st.integers(1, 2), st.sampled_from([8, 16, 33]), st.integers(1, 2), st.integers(4, 70))
def argon2id(password, time_cost, memory_cost, parallelism, size):
    plain, salt = bytes(password.make()), b"salt" * 4
    memory_cost = max(memory_cost, 8 * parallelism)
    alike("argon2id", lambda: kdf.argon2id(password.make(), salt=salt, time_cost=time_cost, memory_cost=memory_cost,
                                           parallelism=parallelism, size=size),
          lambda: argon2.low_level.hash_secret_raw(plain, salt, time_cost, memory_cost, parallelism, size,
                                                   argon2.low_level.Type.ID), size)  # fmt: skip


WRONG = st.sampled_from([None, -1, 0, 1.5, "text", b"", 2**62, 2**63, 2**64, "no such"])
CALLS = {
    "pbkdf2_hmac": {"hash_name": "sha256", "password": b"password", "salt": b"salt", "iterations": 1, "size": 32},
    "scrypt": {"password": b"password", "salt": b"salt", "n": 2, "r": 1, "p": 1, "size": 32},
    "hkdf": {"hash_name": "sha256", "secret": b"secret", "size": 32, "salt": b"salt", "info": b"info"},
    "argon2id": {
        "password": b"password",
        "salt": b"salt" * 4,
        "time_cost": 1,
        "memory_cost": 8,
        "parallelism": 1,
        "size": 16,
    },
}
REFUSALS = (ValueError, TypeError, OverflowError, MemoryError, LookupError, argon2.exceptions.HashingError)


@way(st.sampled_from([(name, each) for name in CALLS for each in CALLS[name]]), WRONG)
def wrong(which, value):
    """One argument that is none: an ordinary error, and nothing left."""
    name, argument = which
    answer = outcome(lambda: getattr(kdf, name)(**CALLS[name] | {argument: value}))
    saw("wrong", name, argument, type(value).__name__, is_error(answer) and answer.__name__)
    assert isinstance(answer, SecureBytes) or issubclass(answer, REFUSALS), f"{name} raised {answer.__name__}"


@given(way.lists(4))
def check(steps):
    for step in steps:
        way.go(step)
