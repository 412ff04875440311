"""The process that the attack tests attack, run as a program: one kind of object, in ordinary and in secret memory.

Arguments: the kind; "leaked" for copies of the secret in ordinary memory, or ""; the backend; the user id to run as,
or "".
Of each object samples are looked for, at its start, in its middle and at its end: all of it where it is small. No two
objects have the same bytes.
"""
import mmap
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # tests/

import secalloc
from secalloc import SecureBytes, configure
from secalloc.holder import Held, address_of, leak, serve

LARGE_BYTES = 1 << 20
SAMPLE_BYTES = 32
OPENSSL_KEY = "OpenSSL key"


def random_bytes(size):
    data = os.urandom(size)
    return data, id(data) + bytes.__basicsize__ - 1


def random_bytes_in_scope(size):
    """Python's own bytes, made in a scope and used after it."""
    with secalloc.scope():
        return random_bytes(size)


def random_secure_bytes(size):
    data = SecureBytes.random(size)
    return data, address_of(data)


def random_guarded(size):
    data = SecureBytes.random(size, guarded=True)
    return data, address_of(data)


def random_array(size, empty):
    import numpy as np

    data = empty(size // 8)
    np.random.default_rng().random(out=data)
    return data, data.ctypes.data


def ordinary_array(size):
    import numpy as np

    return random_array(size, np.empty)


def secret_array(size):
    import secalloc.numpy as snp

    return random_array(size, snp.empty)


def ordinary_openssl_key(size):
    from support.opensslkey import make_key, second

    return make_key(second("."))


def secret_openssl_key(size):
    from support.opensslkey import make_key, routed

    return make_key(routed())


# For each kind: how many bytes, and how the ordinary and the secret object are made.
KINDS = {
    "small object": (SAMPLE_BYTES, random_bytes, random_secure_bytes),
    "large object": (LARGE_BYTES, random_bytes, random_secure_bytes),
    "guarded object": (SAMPLE_BYTES, random_bytes, random_guarded),
    "array": (LARGE_BYTES, ordinary_array, secret_array),
    "object of a scope": (SAMPLE_BYTES, random_bytes, random_bytes_in_scope),
    OPENSSL_KEY: (SAMPLE_BYTES, ordinary_openssl_key, secret_openssl_key),
}


def places(size):
    return {"start": 0, "middle": (size - SAMPLE_BYTES) // 2, "end": size - SAMPLE_BYTES}


def add(held, name, data, address, size):
    held.objects.append(data)
    flat = memoryview(data).cast("B")
    for place, at in places(size).items():
        held.add(f"{name} {place}", flat[at : at + SAMPLE_BYTES], address + at)


def hold(kind, leaked):
    held = Held()
    size, make_ordinary, make_secret = KINDS[kind]
    add(held, "ordinary", *make_ordinary(size), size)
    add(held, "secret", *make_secret(size), size)
    fd = os.memfd_create("shared", 0)  # stays open: for the attacks on descriptors and files, and for children
    os.ftruncate(fd, LARGE_BYTES)
    shared = mmap.mmap(fd, LARGE_BYTES)
    shared[:size] = os.urandom(size)
    add(held, "shared", shared, address_of(shared), size)
    if leaked:
        leak(held)
    return held


if __name__ == "__main__":
    kind, leaked, backend, uid = sys.argv[1:]
    configure(backend=backend)
    if kind == OPENSSL_KEY:  # before anything uses OpenSSL, and while the interpreter's folders can be read
        import secalloc.openssl

        secalloc.openssl.install()
        import ssl  # noqa: F401

        import support.opensslkey  # noqa: F401
    serve(lambda: hold(kind, leaked == "leaked"), uid)
