"""A process that reveals a random secret, uses it in one way and is then attacked, run as a program.

Arguments: the use; "ordinary" for the same use of ordinary objects, which are kept, or "revealed"; the user id, or "".
"""
import gc
import hashlib
import hmac
import json
import sys

from secalloc import SecureBytes, configure
from secalloc.holder import Held, address_of, serve

SECRET_BYTES = 32


def aes(key):
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key).encrypt(bytes(12), b"x", None)


def hkdf(key):
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), 32, None, b"").derive(key)


def parts(key):
    pieces = [key[:16], key[::2], key + key, b"x" + key, key * 2, key.strip(), key.replace(key[:1], b"yz")]
    pieces += key.split(key[5:6])
    return [len(piece) for piece in pieces], b"" in key, key.count(b"a"), key == b"x" * 32, hash(key)


def others(key):
    return key.hex().encode().upper(), key.ljust(40), key.translate(None), key.title(), key.join([key, key])


def as_key_of_a_dict(found):
    return {found: 1}[found], found in {found}, found == found[:], sorted([found, found])


def text_parts(text):
    pieces = [text[:16], text + text, f"{text}", str(text), text.strip(), text.upper().lower(), *text.split(text[5])]
    return [len(piece) for piece in pieces], text.encode().decode(), text.isidentifier(), text == "x", hash(text)


def as_name(text):
    class Place:
        pass

    setattr(Place(), text, 1)
    return (lambda **names: len(names))(**{text: 1})


# What is done with the bytes, and with the text.
USES = {
    "nothing": lambda key: None,
    "hmac": lambda key: hmac.new(key, b"x", "sha256").digest(),
    "hmac of Python": lambda key: hmac.HMAC.__new__(hmac.HMAC)._init_old(key, b"x", hashlib.sha256),
    "pbkdf2": lambda key: hashlib.pbkdf2_hmac("sha256", key, b"salt", 2),
    "scrypt": lambda key: hashlib.scrypt(key, salt=b"s", n=16, r=1, p=1),
    "AES-GCM": aes,
    "HKDF": hkdf,
    "parts": parts,
    "other methods": others,
    "dict": as_key_of_a_dict,
    "a copy": lambda key: bytearray(key),  # the control: ordinary, and kept
}
if sys.version_info < (3, 15):  # whose BLAKE2 leaves the key in memory that it frees
    USES["blake2"] = lambda key: hashlib.blake2b(b"x", key=key).digest()
TEXT_USES = {
    "nothing": lambda text: None,
    "parts": text_parts,
    "dict": as_key_of_a_dict,
    "name": as_name,
    "encode": lambda text: hmac.new(text.encode(), b"x", "sha256").digest(),
    "json": lambda text: json.dumps(text),  # the control: ordinary, and kept
}
KEPT = ("a copy", "json")


def as_letters(secret):
    for i in range(len(secret)):
        secret[i] = 97 + secret[i] % 26


def hold(kind, use, ordinary):
    """The needle is the secret itself; what was revealed is kept."""
    held = Held()
    secret = SecureBytes.random(SECRET_BYTES)
    if kind == "text":
        as_letters(secret)
    found = secret.reveal() if kind == "bytes" else secret.reveal_str()
    if ordinary:
        found = bytes(bytearray(secret)) if kind == "bytes" else bytearray(secret).decode()
    result = (USES if kind == "bytes" else TEXT_USES)[use](found)
    held.add("secret", memoryview(secret), address_of(secret))
    held.objects += secret, found
    if use in KEPT:
        held.objects.append(result)
    del result
    gc.collect()
    return held


if __name__ == "__main__":
    kind, use, ordinary, uid = sys.argv[1:]
    configure(backend="secretmem")  # the other is not hidden from who reads all memory
    serve(lambda: hold(kind, use, ordinary == "ordinary"), uid)
