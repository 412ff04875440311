"""A TLS server whose private key is never in ordinary memory. Run it: python examples/tls_server.py [CERTIFICATE KEY]

Without arguments it makes a key of its own, answers one client, and looks for the key in its own memory.
"""
# ruff: noqa: E402
# First of all: OpenSSL lets itself be told where to allocate only before it has allocated, for `ssl` or for `hashlib`.
from secalloc import openssl

openssl.install()

import http.server
import ssl
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from secalloc import SecureBytes, leaks


def self_signed(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "server.pem", folder / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", key, "-out", certificate]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    return certificate, key


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(certificate: Path, key: Path, port: int) -> http.server.ThreadingHTTPServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    openssl.load_cert_chain(context, certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Hello)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


if len(sys.argv) == 3:
    serve(Path(sys.argv[1]), Path(sys.argv[2]), 8443).serve_forever()

with tempfile.TemporaryDirectory() as made:
    certificate, key = self_signed(Path(made))
    server = serve(certificate, key, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # A client that knows nothing of all this.
    code = (
        "import ssl, sys, urllib.request as r; c = ssl.create_default_context(cafile=sys.argv[1]); "
        "print(r.urlopen(sys.argv[2], context=c).read().decode(), end='')"
    )
    subprocess.run([sys.executable, "-c", code, certificate, f"https://localhost:{server.server_port}"], check=True)
    der = SecureBytes.from_base64(SecureBytes.from_file(key).split(b"-----")[2], validate=False)
    seed = der[-32:]

status = openssl.status()
print("OpenSSL routed:", status.routed, "with", status.heap.live_bytes if status.heap else 0, "bytes live")
print("the key in ordinary memory:", leaks.scan(seed))
server.shutdown()
