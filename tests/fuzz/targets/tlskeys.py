"""`secalloc.openssl.load_cert_chain` of damaged certificates and keys: an SSLError or a ValueError, and nothing left
behind.

What `ssl` itself takes is taken, unless there is a NUL in it: OpenSSL reads a file's line up to that. The input: a
byte that says what the rest is, and the rest.
"""
import json
import signal
import subprocess
import sys
from pathlib import Path

from fuzz.behaviour import saw, size
from fuzz.loader import ABSENT, ORDER

HERE = Path(__file__).resolve().parent.parent
PAIR = {path.name: path.read_bytes() for path in sorted((HERE / "pair").iterdir())}
IS_CERTIFICATE, IS_BOTH, WITH_PASSWORD, OF_ED25519 = 1, 2, 4, 8
REFUSALS = {"SSLError", "ValueError", "taken"}
TOKENS = (
    *(bytes([flags]) + data for name,
      data in PAIR.items() for flags in [4 * ("encrypted" in name) + 8 * ("ed" in name) + (".pem" in name)]),
    b"\x02" + PAIR["p256.pem"] + PAIR["p256.key"], b"-----BEGIN PRIVATE KEY-----\n", b"-----END PRIVATE KEY-----\n",
    b"-----BEGIN ",
    b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n", b"ENCRYPTED ", b"EC PARAMETERS-----\n", b"RSA ",
    b"-----", b"\n", b"\r\n",
    b"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n", b"=", b"AAAA", b"\x30\x82",
    b"\x30\x80",
    b"\x02\x01\x00", b"\x04\x20", b"\x06\x07*\x86H\xce=\x02\x01", b"\x84\x7f\xff\xff\xff", b"\x00" * 9, b"MIIB",
)  # fmt: skip
process = None


def loader():
    """The process that loads; another where the last one died."""
    global process
    if process is None or process.poll() is not None:
        process = subprocess.Popen(
            [sys.executable, "-P", HERE / "loader.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2):  # what OpenSSL makes at first use, it keeps
            load(PAIR["p256.pem"], PAIR["p256.key"], None)
            load(PAIR["p256.pem"], PAIR["ed25519.key"], b"x")
    return process


def load(*parts):
    """What `loader.py` answers; None if it died."""
    order = ORDER.pack(*[ABSENT if part is None else len(part) for part in parts])
    try:
        process.stdin.write(order + b"".join(part for part in parts if part is not None))
        process.stdin.flush()
    except BrokenPipeError:
        return None
    line = process.stdout.readline()
    return json.loads(line) if line else None


def check(data):
    flags, rest = data[0] if data else 0, data[1:]
    pair = "ed25519" if flags & OF_ED25519 else "p256"
    certificates, key = PAIR[f"{pair}.pem"], PAIR[f"{pair}.key"]
    if flags & IS_BOTH:
        certificates, key = rest, None
    elif flags & IS_CERTIFICATE:
        certificates = rest
    else:
        key = rest
    loader()
    answer = load(certificates, key, b"password" if flags & WITH_PASSWORD else None)
    if answer is None:
        status = process.wait()
        raise AssertionError(f"the process died of {signal.Signals(-status).name if status < 0 else status}")
    ours, theirs, before, after = answer
    saw(*sorted(set(ours)), theirs, flags & 15, size(len(rest)))
    assert set(ours) <= REFUSALS, f"load_cert_chain raised {ours}"
    assert len(set(ours)) == 1, "another answer the second time"
    assert after == before, "something is left behind"
    assert theirs != "taken" or ours[0] == "taken" or b"\0" in rest, "what ssl takes was refused"
    assert ours[0] != "taken" or b"\0" in rest or theirs == "taken" or b"-----BEGIN" not in (key or b"-----BEGIN"), (
        "what ssl refuses was taken"
    )
