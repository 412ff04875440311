"""A private key inside a libcrypto's own memory: the one that secalloc routes, or a second one, which it does not.

The second is loaded from a copy of the first's file, so that the two differ in nothing but where they allocate.
"""
import ctypes
import os
import shutil
from pathlib import Path

import secalloc.openssl
from secalloc import SecureBytes
from secalloc.holder import address_of
from support import maps

M_TRIM_THRESHOLD = -1  # of mallopt
EVP_PKEY_ED25519 = 1087  # whose private key OpenSSL keeps as the bytes that it is given
SEED_BYTES = 32
libc = ctypes.CDLL(None)
libc.memmem.restype = ctypes.c_void_p
libc.memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t]


def routed():
    [status] = {each.path for each in secalloc.openssl.status().libraries if each.routed}
    return ctypes.CDLL(status)


def second(folder):
    """A libcrypto that allocates as it always does."""
    [path] = {each.path for each in secalloc.openssl.status().libraries if each.routed}
    copy = Path(folder).absolute() / "libcrypto-second.so"  # a bare name would be looked for elsewhere
    shutil.copy(path, copy)
    return ctypes.CDLL(str(copy), mode=os.RTLD_NOW | os.RTLD_DEEPBIND)


def make_key(library):
    """An Ed25519 key, and its 32 private bytes as the library has them: a view, to which the key must be kept."""
    library.EVP_PKEY_new_raw_private_key.restype = ctypes.c_void_p
    library.EVP_PKEY_new_raw_private_key.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    with SecureBytes.random(SEED_BYTES) as seed:
        key = library.EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, None, address_of(seed), SEED_BYTES)
        assert key
        [address] = set(places_of(address_of(seed))) - {address_of(seed)}
    return (ctypes.c_ubyte * SEED_BYTES).from_address(address), address


def places_of(pattern):
    """Where in malloc's heap and in secret memory the bytes at that address are; found without a copy of them.

    Not on stacks of threads: they have guards that are no mappings of their own (MADV_GUARD_INSTALL).
    malloc's heap must not shrink while it is walked: taking the picture frees more than malloc keeps at its end.
    """
    assert libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
    for mapping in maps.mappings():
        if not mapping.access.startswith("rw") or not (mapping.is_secret or mapping.name == "[heap]"):
            continue
        at = mapping.start
        while found := libc.memmem(at, mapping.end - at, pattern, SEED_BYTES):
            yield found
            at = found + 1
