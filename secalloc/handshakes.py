"""What a TLS server's part takes, for the cost of OpenSSL's memory on secret pages.

As a program it is both ends of connections in one process, by memory: its arguments are a mode, of `MODES`, and a
folder with keys and certificates from `make_keys`. For each line of standard input it writes what the *server's* calls
took, in nanoseconds, as JSON: of one handshake for each key, and of one MiB sent.
"""
from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from secalloc import openssl

if TYPE_CHECKING:
    import ssl

__all__ = ["BULK", "KEYS", "MODES", "make_keys"]

MODES = ("plain", "secalloc")
KEYS = {"RSA-2048": ("RSA", "rsa_keygen_bits:2048"), "P-256": ("EC", "ec_paramgen_curve:P-256")}
BULK = "1 MiB sent"
HANDSHAKES = 20
MIB, RECORD = 1 << 20, 16384


def make_keys(folder: Path) -> None:
    """A key and a certificate of each kind, by the openssl program."""
    for kind, (algorithm, option) in KEYS.items():
        key, certificate = str(folder / f"{kind}.key"), str(folder / f"{kind}.pem")
        for arguments in (
            ["genpkey", "-algorithm", algorithm, "-pkeyopt", option, "-out", key],
            ["req", "-new", "-x509", "-key", key, "-days", "30", "-subj", "/CN=localhost", "-out", certificate],
        ):
            subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class _Connection:
    """Two ends of one connection; `nanoseconds`: spent in the server's calls."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        import ssl

        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(there, back, server_side=True)
        self.client = client.wrap_bio(back, there, server_hostname="localhost")
        self.nanoseconds = 0
        ends = [(self.client.do_handshake, False), (self.server.do_handshake, True)]
        while ends:
            step, is_server = ends.pop(0)
            since = time.perf_counter_ns()
            try:
                step()
            except ssl.SSLWantReadError:
                ends.append((step, is_server))
            if is_server:
                self.nanoseconds += time.perf_counter_ns() - since

    def send(self, size: int) -> int:
        """Nanoseconds that the server takes for so many bytes."""
        data, taken = bytes(RECORD), 0
        for _ in range(size // RECORD):
            since = time.perf_counter_ns()
            self.server.write(data)
            taken += time.perf_counter_ns() - since
            self.client.read(RECORD)
        return taken


def _main(mode: str, folder: Path) -> None:
    if mode == "secalloc":
        openssl.install()
    import ssl

    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE

    def serving(kind: str) -> ssl.SSLContext:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        files = str(folder / f"{kind}.pem"), str(folder / f"{kind}.key")
        if mode == "secalloc":
            openssl.load_cert_chain(server, *files)
        else:
            server.load_cert_chain(*files)
        return server

    def handshake(server: ssl.SSLContext) -> float:
        return min(_Connection(server, client).nanoseconds for _ in range(HANDSHAKES))

    servers = {kind: serving(kind) for kind in KEYS}
    work: dict[str, Callable[[], float]] = {kind: partial(handshake, server) for kind, server in servers.items()}
    work[BULK] = partial(_Connection(servers["P-256"], client).send, MIB)
    for each in work.values():  # what is made once, and the first touches of pages
        each()
    for _ in sys.stdin:
        print(json.dumps({name: each() for name, each in work.items()}), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
