"""The server that is looked through, run as a program. Arguments: how ("ordinary" or "secalloc"), the certificate, the
key, "encrypted" or "", how many handshakes, and two descriptors.

At each step it writes a line and waits for a byte. A password comes from the one that looks, over the second
descriptor, straight into secret pages.
"""
import gc
import os
import socket
import sys


def step(told, go, line):
    os.write(told, f"{line}\n".encode())
    os.read(go, 1)


def main(mode, certificate, key, encrypted, handshakes, told, go):
    if mode == "secalloc":
        from secalloc import SecureBytes
        from secalloc.openssl import install, load_cert_chain

        install()
        password = SecureBytes.from_file(go, size=encrypted) if encrypted else None
    else:
        password = os.read(go, encrypted) if encrypted else None
    import ssl

    step(told, go, "import")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    step(told, go, "context")
    if mode == "secalloc":
        load_cert_chain(context, certificate, key, password)
    else:
        context.load_cert_chain(certificate, key, password)
    del password
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    step(told, go, f"load {listener.getsockname()[1]}")
    for count, name in ((1, "first handshake"), (handshakes, "handshakes")):
        for _ in range(count):
            connection, _ = listener.accept()
            with connection, context.wrap_socket(connection, server_side=True) as tls:
                tls.sendall(tls.recv(100))
        tls = connection = None
        step(told, go, name)
    listener.close()
    context = None
    gc.collect()
    step(told, go, "close")


if __name__ == "__main__":
    mode, certificate, key, *numbers = sys.argv[1:]
    main(mode, certificate, key, *map(int, numbers))
