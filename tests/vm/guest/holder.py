"""The process whose objects are looked for: one of each kind, all in ordinary or all in secret memory.

As a program it takes "ordinary" or "secret", and speaks as `secalloc.holder.serve` does: a line of JSON that tells what
it holds; then, for each line of its standard input, the names of what is still in place. Of a large object three
samples are looked for. The secret holder also has one ordinary object, "beside": what shows the process's other memory
must show it. OpenSSL's numbers have no address told: that they are what is to be looked for, the ordinary holder's
show, by being found.
"""
from __future__ import annotations

import json
import mmap
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import secalloc
import secalloc.numpy as snp
from secalloc import SecureBytes
from secalloc.attacks import Needle
from secalloc.holder import Held, address_of, intact, needle_of

LARGE_BYTES = 1 << 20
SAMPLE_BYTES = 32
TOLD = Path("/told.json")


def _bytes_address(data: bytes) -> int:
    return id(data) + bytes.__basicsize__ - 1


def add(held: Held, name: str, data: Any, address: int) -> None:
    """Small data whole, large data by samples at its start, middle and end."""
    held.objects.append(data)
    flat = memoryview(data).cast("B")
    last = len(flat) - SAMPLE_BYTES
    places = {" start": 0, " middle": last // 16 * 8, " end": last} if last else {"": 0}
    for place, at in places.items():
        held.add(name + place, flat[at : at + SAMPLE_BYTES], address + at)


def _fill(array: Any) -> Any:
    np.random.default_rng().random(out=array)
    return array


def guarded_page() -> mmap.mmap:
    """What is nearest to a guarded object in ordinary memory."""
    page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    os.preadv(_urandom, [memoryview(page)[-SAMPLE_BYTES:]], 0)
    return page


_urandom = os.open("/dev/urandom", os.O_RDONLY)


def hold_ordinary(held: Held) -> None:
    for name, size in (("small object", SAMPLE_BYTES), ("large object", LARGE_BYTES)):
        data = os.urandom(size)
        add(held, name, data, _bytes_address(data))
    page = guarded_page()
    at = mmap.PAGESIZE - SAMPLE_BYTES
    held.objects.append(page)
    held.add("guarded object", memoryview(page)[at:], address_of(page) + at)
    array = _fill(np.empty(LARGE_BYTES // 8))
    add(held, "array", array, array.ctypes.data)
    for name in ("revealed bytes", "object of a scope"):
        data = os.urandom(SAMPLE_BYTES)
        add(held, name, data, _bytes_address(data))


def hold_secret(held: Held) -> None:
    kinds = (("small object", SAMPLE_BYTES, False), ("large object", LARGE_BYTES, False),
             ("guarded object", SAMPLE_BYTES, True))  # fmt: skip
    for name, size, guarded in kinds:
        key = SecureBytes.random(size, guarded=guarded)
        add(held, name, key, address_of(key))
    array = _fill(snp.empty(LARGE_BYTES // 8))
    add(held, "array", array, array.ctypes.data)
    revealed = SecureBytes.random(SAMPLE_BYTES).reveal()
    add(held, "revealed bytes", revealed, _bytes_address(revealed))
    with secalloc.scope():
        data = os.urandom(SAMPLE_BYTES)
    add(held, "object of a scope", data, _bytes_address(data))


def _decoded(needle: Needle, target: Any) -> Any:
    pad, coded = bytes.fromhex(needle.pad), bytes.fromhex(needle.coded)
    for i in range(len(pad)):
        target[i] = pad[i] ^ coded[i]
    return target


def _handshake(context: Any, certificate: Path) -> None:
    """The key is at work, not only loaded: the other end checks what it signed."""
    import ssl

    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(certificate)
    ends = [ssl.MemoryBIO() for _ in range(2)]
    server_side = context.wrap_bio(ends[0], ends[1], server_side=True)
    client_side = client.wrap_bio(ends[1], ends[0], server_hostname="localhost")
    waiting = [client_side, server_side]
    for _ in range(10):
        for side in tuple(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass  # the other end's turn
        if not waiting:
            return
    raise RuntimeError("the handshake does not end")


def hold_keys(held: Held, told: dict[str, dict[str, Any]], *, secret: bool) -> None:
    if secret:
        import secalloc.openssl

        secalloc.openssl.install()
    import ssl

    for kind, key in told.items():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            certificate = Path(folder) / "certificate"
            certificate.write_text(key["certificate"])
            der, pem = Needle(**key["DER"]), Needle(**key["PEM"])
            if secret:
                secalloc.openssl.load_cert_chain(context, certificate, _decoded(der, SecureBytes(len(der.pad) // 2)))
            else:
                file = Path(folder) / "key"
                file.write_bytes(_decoded(pem, bytearray(len(pem.pad) // 2)))
                context.load_cert_chain(certificate, file)
            _handshake(context, certificate)
        held.objects.append(context)
        held.needles.append(Needle(f"{kind} key", key["number"]["pad"], key["number"]["coded"]))


def hold(mode: str) -> Held:
    held = Held()
    secret = mode == "secret"
    told = json.loads(TOLD.read_text())
    hold_keys(held, told["keys"][mode], secret=secret)
    (hold_secret if secret else hold_ordinary)(held)
    if secret:
        beside = os.urandom(SAMPLE_BYTES)
        held.objects.append(beside)
        held.needles.append(needle_of("beside", beside, _bytes_address(beside)))
    return held


def serve(make: Callable[[], Held]) -> None:
    held = make()
    print(json.dumps(held.told()), flush=True)
    for _ in sys.stdin:
        print(json.dumps([each.name for each in held.needles if not each.address or intact(each)]), flush=True)


if __name__ == "__main__":
    serve(lambda: hold(sys.argv[1]))
