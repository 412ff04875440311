"""Servers for clients that are measured: each a process of its own, which knows no secret but what it is sent.

As a program (`python servers.py KIND`) it prints its port and serves until its standard input ends.
"""
import base64
import contextlib
import hashlib
import http.server
import socketserver
import struct
import subprocess
import sys
import threading
from typing import ClassVar

SEEN = "seen"  # in the folder of the one that is measured
_started = []  # their pipes: a server ends with its client


def serve(kind: str) -> int:
    """Start a server; answers its port."""
    process = subprocess.Popen([sys.executable, __file__, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    _started.append(process)
    return int(process.stdout.readline())


def seen(content: bytes) -> None:
    """Note what came, for whoever asks whether it was the secret: a library may send something else in its place."""
    with open(SEEN, "a") as file:
        file.write(hashlib.sha256(content).hexdigest() + "\n")


class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        seen(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        told = self.headers.get("Authorization") or self.headers.get("X-Vault-Token") or ""
        if told.startswith("Basic "):
            told = base64.b64decode(told[6:]).decode().partition(":")[2]
        seen(told.encode())
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"data": {}}')

    do_POST = do_GET

    def log_message(self, *words):
        """A request is not told: it holds the secret."""


class Postgres(socketserver.StreamRequestHandler):
    """As much of PostgreSQL's protocol as to ask for a password in plain text and to answer any query with nothing.

    Source: PostgreSQL documentation, "Frontend/Backend Protocol", version 3.0.
    """

    REFUSED: ClassVar = (80877103, 80877104)  # requests for TLS and for GSSAPI
    SETTINGS: ClassVar = {"server_version": "17.0", "client_encoding": "UTF8", "server_encoding": "UTF8",
                          "DateStyle": "ISO", "standard_conforming_strings": "on"}  # fmt: skip
    ANSWERS: ClassVar = {b"P": b"1", b"B": b"2", b"D": b"n", b"C": b"3"}  # parse, bind, describe, close

    def tell(self, kind, body=b""):
        self.wfile.write(kind + struct.pack("!i", len(body) + 4) + body)

    def heard(self):
        kind = self.rfile.read(1)
        return kind, self.rfile.read(struct.unpack("!i", self.rfile.read(4))[0] - 4) if kind else b""

    def parameters(self, body):
        """Of a bind message: two names, the parameters' formats, the parameters."""
        _, _, rest = body.split(b"\0", 2)
        rest = rest[2 + 2 * int.from_bytes(rest[:2]) :]
        count, rest = int.from_bytes(rest[:2]), rest[2:]
        for _ in range(count):
            size = int.from_bytes(rest[:4], signed=True)
            seen(rest[4 : 4 + max(size, 0)])
            rest = rest[4 + max(size, 0) :]

    def handle(self):
        while (head := struct.unpack("!ii", self.rfile.read(8)))[1] in self.REFUSED:
            self.wfile.write(b"N")
        self.rfile.read(head[0] - 8)  # the user's name and so on
        self.tell(b"R", struct.pack("!i", 3))
        seen(self.heard()[1].rstrip(b"\0"))
        self.tell(b"R", struct.pack("!i", 0))
        for name, value in self.SETTINGS.items():
            self.tell(b"S", f"{name}\0{value}\0".encode())
        self.tell(b"K", struct.pack("!ii", 1, 1))
        self.tell(b"Z", b"I")
        while (message := self.heard())[0] not in (b"X", b""):
            kind, body = message
            if kind == b"B":
                self.parameters(body)
            if kind == b"E":
                self.tell(b"C", b"SELECT 0\0")
            elif kind in self.ANSWERS:
                self.tell(self.ANSWERS[kind], b"")
            elif kind in b"SQ":
                if kind == b"Q":
                    self.tell(b"C", b"SELECT 0\0")
                self.tell(b"Z", b"I")


class Shell(socketserver.BaseRequestHandler):
    def handle(self):
        import paramiko

        class Server(paramiko.ServerInterface):
            def check_auth_password(self, username, password):
                seen(password.encode())
                return paramiko.AUTH_SUCCESSFUL

            def get_allowed_auths(self, username):
                return "password"

        transport = paramiko.Transport(self.request)
        transport.add_server_key(paramiko.RSAKey.generate(2048))
        with contextlib.suppress(EOFError, paramiko.SSHException):  # the client left
            transport.start_server(server=Server())
            transport.join()


KINDS = {"http": Web, "postgres": Postgres, "ssh": Shell}


def main(kind: str) -> None:
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), KINDS[kind]) as server:
        print(server.server_address[1], flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
