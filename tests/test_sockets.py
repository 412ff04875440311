"""From sockets, plain and TLS, and back."""
import datetime
import os
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from support.fixtures import nothing_leaks  # noqa: F401

from secalloc import Heap, SecureBytes, WipedError


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """Of a TLS server and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(1))
    builder = builder.not_valid_after(now + datetime.timedelta(1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + builder.sign(key, SHA256()).public_bytes(pem))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=file)


@pytest.fixture(params=["plain", "TLS"])
def pair(request, contexts):
    """Two connected sockets."""
    one, other = socket.socketpair()
    if request.param == "plain":
        with one, other:
            yield one, other
        return
    server, client = contexts
    made = []
    thread = threading.Thread(target=lambda: made.append(server.wrap_socket(one, server_side=True)))
    thread.start()
    with client.wrap_socket(other, server_hostname="localhost") as second:
        thread.join()
        with made[0] as first:
            yield first, second


def in_background(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread


def send_and_close(sock, content):
    sock.sendall(content)
    sock.shutdown(socket.SHUT_WR)  # for `ssl` the end as well, though TLS was not asked


@pytest.mark.parametrize("size", [0, 1, 32, 4_096, 300_000])
def test_a_size_is_received_in_as_many_parts_as_come_and_the_rest_is_left(pair, size):
    content = os.urandom(size)
    thread = in_background(pair[0].sendall, content + b"rest")
    assert SecureBytes.from_socket(pair[1], size) == content
    assert SecureBytes.from_socket(pair[1], size=4) == b"rest"
    thread.join()


@pytest.mark.parametrize("size", [0, 1, 4_095, 4_096, 4_097, 300_000])
def test_all_is_received_until_the_other_side_closes(pair, size):
    content = os.urandom(size)
    thread = in_background(send_and_close, pair[0], content)
    assert SecureBytes.from_socket(pair[1], max_size=size) == content
    pair[1].close()
    thread.join()


@pytest.mark.parametrize("size", [1, 4_096, 10_000])
def test_more_than_max_size_is_refused(pair, size):
    pair[0].sendall(bytes(size))
    heap = Heap("own")
    with pytest.raises(ValueError, match=f"more than {size - 1} bytes"):
        SecureBytes.from_socket(pair[1], max_size=size - 1, heap=heap)
    assert heap.stats().live == 0


def test_a_connection_that_ends_too_early_is_an_eof_error(pair):
    thread = in_background(send_and_close, pair[0], b"12345")
    heap = Heap("own")
    with pytest.raises(EOFError, match="after 5 of 6 bytes"):
        SecureBytes.from_socket(pair[1], 6, heap=heap)
    pair[1].close()
    thread.join()
    assert heap.stats().live == 0


def test_a_timeout_of_the_socket_s_is_its_error(pair):
    pair[1].settimeout(0.05)
    pair[0].sendall(b"half")
    with pytest.raises(TimeoutError):
        SecureBytes.from_socket(pair[1], 8)


def test_a_socket_that_is_non_blocking_is_not_waited_for(pair):
    pair[1].setblocking(False)
    with pytest.raises((BlockingIOError, ssl.SSLWantReadError)):
        SecureBytes.from_socket(pair[1], 8)


def test_a_socket_that_is_not_connected_is_an_error():
    with socket.socket() as lone:
        with pytest.raises(OSError, match="not connected"):
            SecureBytes.from_socket(lone, 1)
        with pytest.raises(BrokenPipeError):
            SecureBytes(b"x").send(lone)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"size": -1}, ValueError), ({"max_size": -1}, ValueError), ({"size": "5"}, TypeError),
     ({"size": 1, "max_size": 2}, TypeError), ({"size": 2**60}, MemoryError), ({"heap": 5}, TypeError)],
)  # fmt: skip
def test_a_wrong_size_is_an_error_and_receives_nothing(pair, arguments, error):
    pair[0].sendall(b"12345")
    with pytest.raises(error):
        SecureBytes.from_socket(pair[1], **arguments)
    assert pair[1].recv(5) == b"12345"


@pytest.mark.parametrize("sock", [None, 5, object(), "socket"])
def test_what_is_no_socket_is_an_attribute_error(sock):
    with pytest.raises(AttributeError):
        SecureBytes.from_socket(sock, 1)
    with pytest.raises(AttributeError):
        SecureBytes(b"x").send(sock)


class Hostile:
    """A socket of somebody's making."""

    def __init__(self, answer):
        self.answer = answer

    def recv_into(self, view):
        if callable(self.answer):
            return self.answer(view)
        return self.answer

    sendall = recv_into


@pytest.mark.parametrize(("answer", "error"), [(-1, ValueError), (9, ValueError), (None, TypeError), ("8", TypeError)])
def test_a_count_that_cannot_be_is_an_error(answer, error):
    with pytest.raises(error):
        SecureBytes.from_socket(Hostile(answer), 8)
    assert len(SecureBytes.from_socket(Hostile(8), 8)) == 8  # the control


@pytest.mark.parametrize("size", [8, None])
def test_an_object_that_is_wiped_while_it_receives_is_a_wiped_error(size):
    def wipe(view):
        view.obj.wipe()
        return 8

    with pytest.raises(WipedError):
        SecureBytes.from_socket(Hostile(wipe), size)


def test_a_view_that_is_kept_sees_no_more_than_zeros_in_the_end():
    kept = []

    def keep(view):
        kept.append(memoryview(view.obj))
        view[:6] = b"secret"
        return 6 if len(kept) == 1 else 0

    assert SecureBytes.from_socket(Hostile(keep)) == b"secret"
    assert bytes(kept[0][:6]) == bytes(6)  # what was received lies elsewhere by then
    for view in kept:
        view.release()


# --- out ---


@pytest.mark.parametrize("size", [0, 1, 32, 1_000_000])
def test_send_sends_all_bytes(pair, size):
    key = SecureBytes.random(size)
    thread = in_background(key.send, pair[0])
    assert SecureBytes.from_socket(pair[1], size) == key
    thread.join()


def test_send_of_a_wiped_one_sends_nothing(pair):
    key = SecureBytes(b"secret")
    key.wipe()
    with pytest.raises(WipedError):
        key.send(pair[0])
    pair[0].sendall(b"other")
    assert pair[1].recv(100) == b"other"


def test_send_hands_out_the_secret_pages_themselves():
    key = SecureBytes(b"secret")
    seen = []
    key.send(Hostile(lambda view: seen.append((view.obj is key, bytes(view)))))
    assert seen == [(True, b"secret")]
