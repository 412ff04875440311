"""Libraries of cryptography and of passwords."""
from consumers.case import case


@case("cryptography", "AESGCM(secret).encrypt")
def aes_gcm():
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return lambda secret: AESGCM(secret).encrypt(bytes(12), b"message", None)


@case("cryptography", "ChaCha20Poly1305(secret).encrypt")
def chacha():
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return lambda secret: ChaCha20Poly1305(secret).encrypt(bytes(12), b"message", None)


@case("cryptography", "Cipher(AES(secret), CTR)")
def aes_ctr():
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return lambda secret: Cipher(algorithms.AES(secret), modes.CTR(bytes(16))).encryptor().update(b"message")


@case("cryptography", "HMAC(secret)")
def hmac():
    from cryptography.hazmat.primitives import hashes, hmac

    return lambda secret: hmac.HMAC(secret, hashes.SHA256()).finalize()


@case("cryptography", "HKDF.derive(secret)")
def hkdf():
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return lambda secret: HKDF(hashes.SHA256(), 32, None, None).derive(secret)


@case("cryptography", "Scrypt.derive(secret)")
def scrypt():
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return lambda secret: Scrypt(b"salt", 32, 1024, 8, 1).derive(secret)


@case("cryptography", "Ed25519PrivateKey.from_private_bytes(secret)")
def ed25519():
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return lambda secret: Ed25519PrivateKey.from_private_bytes(secret).sign(b"message")


@case("cryptography", "X25519PrivateKey.from_private_bytes(secret)")
def x25519():
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return lambda secret: X25519PrivateKey.from_private_bytes(secret).public_key()


@case("cryptography", "load_pem_private_key(password=secret)")
def load_pem():
    from pathlib import Path

    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = Path("chain.pem").read_bytes()
    return lambda secret: load_pem_private_key(pem, secret)


@case("cryptography", "Fernet(base64 of the secret)")
def fernet():
    import base64

    from cryptography.fernet import Fernet

    return lambda secret: Fernet(base64.urlsafe_b64encode(secret)).encrypt(b"message")


@case("pynacl", "SecretBox(secret)")
def secret_box():
    from nacl.secret import SecretBox

    return lambda secret: SecretBox(secret).encrypt(b"message")


@case("pynacl", "PrivateKey(secret)")
def private_key():
    from nacl.public import PrivateKey

    return lambda secret: PrivateKey(secret).public_key


@case("pynacl", "SigningKey(secret)")
def signing_key():
    from nacl.signing import SigningKey

    return lambda secret: SigningKey(secret).sign(b"message")


@case("pynacl", "pwhash.argon2id.kdf(32, secret)")
def nacl_argon2():
    from nacl.pwhash import argon2id

    return lambda secret: argon2id.kdf(32, secret, bytes(16), 1, 1 << 13)


@case("pysodium", "crypto_secretbox(secret)")
def pysodium_box():
    import pysodium

    return lambda secret: pysodium.crypto_secretbox(b"message", bytes(24), secret)


@case("libnacl", "crypto_secretbox(secret)")
def libnacl_box():
    import libnacl

    return lambda secret: libnacl.crypto_secretbox(b"message", bytes(24), secret)


@case("pycryptodome", "AES.new(secret, GCM)")
def pycryptodome_aes():
    from Crypto.Cipher import AES

    return lambda secret: AES.new(secret, AES.MODE_GCM, nonce=bytes(12)).encrypt(b"message")


@case("pycryptodome", "HMAC.new(secret)")
def pycryptodome_hmac():
    from Crypto.Hash import HMAC, SHA256

    return lambda secret: HMAC.new(secret, b"message", SHA256).digest()


@case("bcrypt", "hashpw(secret)")
def bcrypt_hash():
    import bcrypt

    salt = bcrypt.gensalt(4)
    return lambda secret: bcrypt.hashpw(secret, salt)


@case("argon2-cffi", "PasswordHasher().hash(secret)")
def argon2_hash():
    from argon2 import PasswordHasher

    return lambda secret: PasswordHasher(1, 1024).hash(secret)


@case("argon2-cffi", "low_level.hash_secret_raw(secret)")
def argon2_raw():
    from argon2.low_level import Type, hash_secret_raw

    return lambda secret: hash_secret_raw(secret, bytes(16), 1, 1024, 1, 32, Type.ID)


@case("pyjwt", "encode(..., secret, 'HS256')")
def pyjwt():
    import jwt

    return lambda secret: jwt.decode(jwt.encode({"a": 1}, secret, "HS256"), secret, ["HS256"])


@case("joserfc", "jwt.encode with OctKey.import_key(secret)")
def joserfc():
    from joserfc import jwt
    from joserfc.jwk import OctKey

    return lambda secret: jwt.encode({"alg": "HS256"}, {"a": 1}, OctKey.import_key(secret))
