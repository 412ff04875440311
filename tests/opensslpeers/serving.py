"""Servers on one key: with threads, with asyncio, with a child for each connection, with children made beforehand.

Each writes its port, and ends when its standard input does. What it answers says who answers, over what connection, and
how much of OpenSSL's memory is live; for /idle, after what only Python still kept is gone.
"""
import asyncio
import ctypes
import gc
import http.server
import json
import os
import select
import signal
import socketserver
import ssl
import sys
import threading
from contextlib import suppress

from secalloc.openssl import load_cert_chain, status

WORKERS = 3
PR_SET_PDEATHSIG = 1
kept = []  # what /leak leaves, a session for each connection


def answer(tls, path):
    if path == "/idle":
        gc.collect()
    if path == "/leak":
        kept.append(tls.session)
    now, peer = status(), tls.getpeercert() or {}
    told = {
        "pid": os.getpid(), "version": tls.version(), "reused": tls.session_reused, "client": peer.get("serialNumber"),
        "routed": now.routed, "live_bytes": now.heap.live_bytes, "live": now.heap.live,
        "random": ssl.RAND_bytes(16).hex(),
    }  # fmt: skip
    return json.dumps(told).encode() + b"\n"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the connection stays: it is the client that closes
    disable_nagle_algorithm = True

    def handle(self):
        with suppress(ConnectionError):  # a client that does not trust us may go without a word
            super().handle()

    def do_GET(self):
        content = answer(self.connection, self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def tell(port):
    print(port, flush=True)


def listening(server, context):
    server.socket = context.wrap_socket(server.socket, server_side=True)
    tell(server.server_address[1])
    return server


def threads(context):
    with listening(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler), context) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        sys.stdin.read()
        server.shutdown()
        thread.join()


async def respond(reader, writer):
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            content = answer(writer.get_extra_info("ssl_object"), head.split()[1].decode())
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content))
            await writer.drain()
    writer.close()


async def serve(context):
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    server = await asyncio.start_server(respond, "127.0.0.1", 0, ssl=context)
    tell(server.sockets[0].getsockname()[1])
    await ended.wait()
    server.close()
    await server.wait_closed()


def with_asyncio(context):
    asyncio.run(serve(context))


class Forking(socketserver.ForkingMixIn, http.server.HTTPServer):
    pass


def serve_until_stdin_ends(server):
    while sys.stdin not in (ready := select.select([server, sys.stdin], [], [])[0]):
        assert ready == [server]
        server.handle_request()


def forking(context):
    with listening(Forking(("127.0.0.1", 0), Handler), context) as server:
        serve_until_stdin_ends(server)


def worker(server):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a parent that is killed leaves none behind
    while True:
        server.handle_request()


def prefork(context):
    """As gunicorn does it: children share a listener. The parent has one of its own, the second port that is told."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    shared = listening(http.server.HTTPServer(("127.0.0.1", 0), Handler), context)
    children = []
    for _ in range(WORKERS):
        children.append(os.fork())
        if not children[-1]:
            worker(shared)
    try:
        with listening(http.server.HTTPServer(("127.0.0.1", 0), Handler), context) as own:
            serve_until_stdin_ends(own)
    finally:
        for child in children:
            os.kill(child, signal.SIGTERM)
        ends = [os.waitpid(child, 0)[1] for child in children]
        assert ends == [0] * WORKERS, ends


def main(kind, certificate, key, password, clients=None):
    """`clients`: file of the certificates of which a client must have one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_cert_chain(context, certificate, key, password)
    assert status().routed
    assert status().heap.live_bytes > 0
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    {"threads": threads, "asyncio": with_asyncio, "forking": forking, "prefork": prefork}[kind](context)
    assert status().heap.live_bytes > 0
