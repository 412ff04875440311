"""One server's life, and what is found of its key at each step."""
import os
import socket
import ssl
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from opensslleaks.keys import PASSWORD
from secalloc.scan import fragments

TESTS = Path(__file__).resolve().parent.parent
STEPS = ("import", "context", "load", "first handshake", "handshakes", "close")


def connect(address, client):
    with socket.create_connection(address, timeout=30) as plain, client.wrap_socket(
        plain, server_hostname="localhost"
    ) as tls:
        tls.sendall(b"hello")
        assert tls.recv(100) == b"hello"


def clients(certificate):
    """Of TLS 1.3 and 1.2, to take turns."""
    made = []
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        made.append(ssl.create_default_context(cafile=str(certificate)))
        made[-1].minimum_version = made[-1].maximum_version = version
    return made


def read_line(fd):
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(fd, 1)
        if not part:
            raise RuntimeError("the server ended early")
        line += part
    return line.decode().strip()


def measured(key, form, mode, handshakes):
    """By step, what is found, and in which mappings."""
    ready, telling = os.pipe()
    waiting, go = os.pipe()
    size = len(PASSWORD) if form.startswith("encrypted") else 0
    arguments = [mode, key.certificate, key.files[form], size, handshakes, telling, waiting]
    # Libraries' functions are bound at the start: later, the first call of one saves all registers on the stack.
    environment = os.environ | {"PYTHONPATH": str(TESTS), "SECALLOC_BACKEND": "secretmem", "LD_BIND_NOW": "1"}
    found = {}
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "opensslleaks.server", *map(str, arguments)],
        env=environment, cwd="/", pass_fds=(telling, waiting), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        os.close(telling)
        os.close(waiting)
        try:
            os.write(go, PASSWORD.encode()[:size])
            wanted, both = key.wanted(), clients(key.certificate)
            for step in STEPS:
                told = read_line(ready)
                if told.startswith("load "):
                    address = ("127.0.0.1", int(told.removeprefix("load ")))
                elif told != step:
                    raise RuntimeError(f"{told!r}, not {step!r}")
                places = defaultdict(set)
                for hit in fragments(server.pid, wanted):
                    places[hit.needle].add(os.path.basename(hit.area).strip("[]") or "mapped")
                found[step] = {name: sorted(where) for name, where in places.items()}
                os.write(go, b".")
                for i in range({"load": 1, "first handshake": handshakes}.get(step, 0)):
                    connect(address, both[i % 2])
        except BaseException:
            server.kill()
            raise
        finally:
            os.close(ready)
            os.close(go)
    if server.returncode:
        raise RuntimeError(f"{key.kind}, {form}, {mode}: the server ended with {server.returncode}")
    return found
