"""Clients, by Python's own `ssl` and `http.client`."""
import contextlib
import gc
import http.client
import json
import socket
import ssl

from secalloc.openssl import load_cert_chain, status


@contextlib.contextmanager
def connected(port, context, session=None):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)  # nobody waits for an acknowledgement
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
            yield tls


def request(connection, path="/"):
    """Ask over a connection, whatever is behind it; answers what the answer's JSON says."""
    client = http.client.HTTPConnection("localhost")
    client.sock = connection
    client.request("GET", path)
    answer = client.getresponse()
    assert answer.status == 200
    return json.load(answer)


def ask(port, context, path="/", session=None):
    with connected(port, context, session) as tls:
        assert tls.session_reused is (session is not None)
        return request(tls, path)


def session_of(port, context):
    """Of a new connection. Not of every one: the Python below leaks a session whenever it is asked for one."""
    with connected(port, context) as tls:
        request(tls)  # TLS 1.3 has the session after the first answer only
        return tls.session


def main(port, authority, certificate, key, password, path, *counts):
    """A client that has a certificate. After each count of connections, a line: the last answer, and what is live."""
    context = ssl.create_default_context(cafile=authority)
    load_cert_chain(context, certificate, key, password)
    for count in map(int, counts):
        for _ in range(count):
            answer = ask(int(port), context, path)
        gc.collect()
        now = status()
        assert now.routed
        print(json.dumps({"answer": answer, "live_bytes": now.heap.live_bytes, "live": now.heap.live}), flush=True)
