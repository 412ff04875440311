"""One case in a process of its own, and what is left of the secret in that process's ordinary memory."""
import hashlib
import json
import secrets
import string
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from consumers.servers import SEEN
from secalloc.scan import hits

TESTS = Path(__file__).resolve().parent.parent
SECONDS_MAX = 60


class Outcome(NamedTuple):
    """`refused`: the library's error, or None; `copies`: places in ordinary memory with half the secret or more."""

    refused: str | None
    copies: int
    where: tuple[str, ...]


class Absent(Exception):
    """The library is not installed, or does not come up here; the message says why."""


def chain(password: bytes) -> bytes:
    """A self-signed certificate and its key, encrypted, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(password)
    ) + built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@contextmanager
def user_of(name: str, form: str, secret: bytes):
    """The process of consumers.child, which is about to use the secret, and its folder."""
    with TemporaryDirectory() as folder:
        Path(folder, "chain.pem").write_bytes(chain(secret))
        command = [sys.executable, "-P", "-W", "ignore", "-m", "consumers.child", name, form]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        variables = {"PYTHONPATH": str(TESTS), "PATH": "/usr/bin:/bin"}
        with subprocess.Popen(command, cwd=folder, env=variables, **pipes) as child:
            try:
                child.stdin.write(secret)
                child.stdin.flush()
                yield child, Path(folder)
            finally:
                child.stdin.close()
                child.stdout.close()
                child.stderr.close()
                child.wait(SECONDS_MAX)


def outcome(name: str, form: str) -> Outcome:
    """What `form` of a new secret comes to with a case."""
    secret = "".join(secrets.choice(string.ascii_letters) for _ in range(32)).encode()
    with user_of(name, form, secret) as (child, folder):
        line = child.stdout.readline()
        if not line:
            raise Absent(child.stderr.read().decode().strip().rpartition("\n")[2])
        found = hits(child.pid, {"first half": secret[:16], "second half": secret[16:]})
        first = {hit.address for hit in found if hit.needle == "first half"}
        second = {hit.address - 16 for hit in found if hit.needle == "second half"}
        refused = json.loads(line)
        sent = folder / SEEN
        if refused is None and sent.exists() and hashlib.sha256(secret).hexdigest() not in sent.read_text():
            refused = "sent something else in its place"
        return Outcome(refused, len(first | second), tuple(sorted({hit.area or "anonymous" for hit in found})))
