"""The standard library."""
from consumers.case import case


@case("", "hashlib.sha256(secret)")
def sha256():
    import hashlib

    return lambda secret: hashlib.sha256(secret).digest()


@case("", "hashlib.pbkdf2_hmac(password=secret)")
def pbkdf2():
    import hashlib

    return lambda secret: hashlib.pbkdf2_hmac("sha256", secret, b"salt", 1_000)


@case("", "hashlib.scrypt(secret)")
def scrypt():
    import hashlib

    return lambda secret: hashlib.scrypt(secret, salt=b"salt", n=1024, r=8, p=1)


@case("", "hashlib.blake2b(key=secret)")
def blake2b():
    import hashlib

    return lambda secret: hashlib.blake2b(b"message", key=secret).digest()


@case("", "hmac.digest(secret)")
def hmac_digest():
    import hmac

    return lambda secret: hmac.digest(secret, b"message", "sha256")


@case("", "hmac.new(secret)")
def hmac_new():
    import hmac

    return lambda secret: hmac.new(secret, b"message", "sha256").digest()


@case("", "hmac.compare_digest(secret, secret)")
def compare_digest():
    import hmac

    return lambda secret: hmac.compare_digest(secret, secret)


@case("", "socket.sendall(secret)")
def sendall():
    import socket

    here, there = socket.socketpair()
    return lambda secret: (here.sendall(secret), there.recv_into(bytearray(0)))[0]


@case("", "asyncio StreamWriter.write(secret)")
def stream_writer():
    import asyncio

    async def write(secret):
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(secret)
        writer.close()
        server.close()

    return lambda secret: asyncio.run(write(secret))


@case("", "ssl load_cert_chain(password=secret)", text=True)
def load_cert_chain():
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    return lambda secret: context.load_cert_chain("chain.pem", password=secret)


@case("", "sqlite3: a parameter of a query")
def sqlite():
    import sqlite3

    database = sqlite3.connect(":memory:")
    return lambda secret: database.execute("SELECT length(?)", (secret,)).fetchall()


@case("", "int.from_bytes(secret)", result=True)
def from_bytes():
    return lambda secret: int.from_bytes(secret, "big") > 0


@case("", "struct.unpack('32s', secret)", result=True)
def unpack():
    import struct

    return lambda secret: len(struct.unpack("32s", secret))


@case("", "base64.b64encode(secret)")
def b64encode():
    import base64

    return lambda secret: len(base64.b64encode(secret))


@case("", "open(...).write(secret)")
def write():
    import os

    return lambda secret: open(os.devnull, "wb", buffering=0).write(secret)


@case("", "subprocess: input=secret")
def subprocess_input():
    import subprocess

    return lambda secret: subprocess.run(["cat"], input=secret, stdout=subprocess.DEVNULL, check=True)


@case("", "json.dumps({...: secret})", text=True)
def json_dumps():
    import json

    return lambda secret: len(json.dumps({"password": secret}))


def whole(text, size):
    if len(text) != size:
        raise ValueError("the text is not that of the secret")


@case("", "f-string, of the secret alone", text=True)
def format_alone():
    return lambda secret: whole(f"{secret}", 32)


@case("", "f-string, with other text", text=True)
def format_with_text():
    return lambda secret: whole(f"Bearer {secret}", 39)


@case("", "secret.encode()", text=True)
def encode():
    return lambda secret: len(secret.encode())
