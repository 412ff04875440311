"""A process that loads certificates and keys into contexts, for `targets/tlskeys.py`: `python -P tests/fuzz/loader.py`.

It has OpenSSL on secret pages, which is only to be had where nothing has used OpenSSL before: hypothesis has. Orders
come on standard input: three sizes (certificates, key, password; ABSENT for none) and the bytes. An answer is a line
of JSON: what came of `secalloc.openssl`, what of `ssl` alone, and live bytes before and after a repetition.
"""
import json
import signal
import struct
import sys

from secalloc import SecureBytes, openssl

ORDER = struct.Struct("<3I")
ABSENT = 2**32 - 1
SECONDS_MAX = 10

if __name__ == "__main__":
    openssl.install()
    import ssl


def attempt(load, *arguments):
    """Into a fresh context: "taken", or the name of the error. SSLError's kinds are one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        load(context, *arguments)
    except ssl.SSLError:
        return "SSLError"
    except Exception as error:
        return type(error).__name__
    return "taken"


def live():
    return openssl.status().heap.live_bytes


def serve(order, answers):
    while len(head := order.read(ORDER.size)) == ORDER.size:
        certificates, key, password = (None if size == ABSENT else order.read(size) for size in ORDER.unpack(head))
        signal.alarm(SECONDS_MAX)
        with open("chain.pem", "wb") as file:
            file.write(certificates)
        with open("key.pem", "wb") as file:
            file.write(key or b"")
        given = (None if key is None else SecureBytes(key), None if password is None else SecureBytes(password))
        ours = [attempt(openssl.load_cert_chain, "chain.pem", *given) for _ in range(2)]
        before = live()
        ours.append(attempt(openssl.load_cert_chain, "chain.pem", *given))
        after = live()
        # A password is always given: else it would ask the terminal.
        theirs = attempt(ssl.SSLContext.load_cert_chain, "chain.pem", key and "key.pem", password or b"")
        signal.alarm(0)
        print(json.dumps([ours, theirs, before, after]), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout)
