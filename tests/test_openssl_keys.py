"""`load_cert_chain`: what it takes, what it refuses and what is left then, beside `ssl`'s own."""
import pytest
from opensslleaks import keys
from support.children import succeed
from support.loadedkeys import found, nothing

# Each is refused; `arguments`: the certificate of another key, and the key's own.
REFUSALS = """
another, own = arguments
if mode == "secalloc":
    from secalloc import openssl
    openssl.install()
import ssl
def refused(certificate, key, password):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if mode == "secalloc":
            openssl.load_cert_chain(context, certificate, key, password)
        else:
            context.load_cert_chain(certificate, key, password)
    except (ssl.SSLError, ValueError):
        return
    sys.exit("it was taken")
refused(another, path, password)
if mode == "secalloc":
    refused(another, data, password)
    for size in range(40, len(data) - 30, 150):
        refused(own, data[:size], password)
    if password:
        for wrong in (password + b"x", password[1:], password * 100):
            refused(own, data, wrong)
step("loaded")
step("signed")
data = password = None
gc.collect()
step("dropped")
"""

PRELUDE = """
import gc, os, sys
from pathlib import Path
from secalloc import SecureBytes, openssl
from secalloc.openssl import load_cert_chain
openssl.install()
import ssl
folder, password = Path(sys.argv[1]), sys.argv[2]
def context():
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
def refused(error, match, *arguments, on=None):
    try:
        load_cert_chain(on or context(), *arguments)
    except error as caught:
        assert match in str(caught), caught
        return caught
    raise SystemExit("it was taken")
def shakes_hands(server, certificate):
    client = ssl.create_default_context(cafile=certificate)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there, server_hostname="localhost"), server.wrap_bio(there, back, server_side=True)]
    while ends:
        end = ends.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            ends.append(end)
rsa, key = folder / "rsa2048.pem", folder / "rsa2048.pem.key"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for kind in keys.KINDS:
        keys.make(kind, folder)
    return folder


@pytest.fixture
def program(made):
    """Runs a program that has keys of every kind and form."""
    return lambda code: succeed(PRELUDE + code, made, keys.PASSWORD)


@pytest.mark.parametrize("how", ["a path", "a Path", "SecureBytes"])
@pytest.mark.parametrize("form", ["pem", "der", "encrypted", "encrypted-der"])
def test_a_key_of_every_kind_and_form_is_taken(program, form, how):
    program(
        f"""
for kind in ("rsa2048", "p256", "ed25519"):
    key = folder / f"{{kind}}.{form}.key"
    given = {{"a path": str, "a Path": Path, "SecureBytes": SecureBytes.from_file}}[{how!r}](key)
    server = context()
    assert load_cert_chain(server, folder / f"{{kind}}.pem", given, password if "enc" in {form!r} else None) is None
    shakes_hands(server, folder / f"{{kind}}.pem")
        """
    )


def test_a_password_is_taken_in_every_form(program):
    program(
        """
encrypted = folder / "p256.encrypted.key"
secret = SecureBytes(password.encode())
for given in (password, password.encode(), bytearray(password.encode()), secret, lambda: secret, lambda: password):
    load_cert_chain(context(), folder / "p256.pem", encrypted, given)
load_cert_chain(context(), folder / "p256.pem", folder / "p256.pem.key", lambda: password)  # of a key that needs none
assert secret == password.encode()
        """
    )


def test_certificate_and_key_may_be_in_one_file(program):
    program(
        """
both = folder / "both.pem"
both.write_bytes(key.read_bytes() + rsa.read_bytes())
server = context()
load_cert_chain(server, both)
shakes_hands(server, rsa)
        """
    )


def test_the_chain_is_sent_as_ssl_sends_it(program):
    program(
        """
chain = folder / "chain.pem"
chain.write_bytes(rsa.read_bytes() + (folder / "p256.pem").read_bytes() + (folder / "ed25519.pem").read_bytes())
def sent(server):
    client = ssl.create_default_context(cafile=rsa)
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # which has certificates in the clear
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(back, there, server_hostname="localhost"), server.wrap_bio(there, back, server_side=True)
    for end in ends:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            pass
    answer = back.read()
    names = ("rsa2048", "p256", "ed25519")
    return [answer.count(ssl.PEM_cert_to_DER_cert((folder / f"{name}.pem").read_text())) for name in names]
ours, theirs = context(), context()
theirs.load_cert_chain(chain, key)
for _ in range(2):  # in place of the chain there was
    load_cert_chain(ours, chain, key)
    assert sent(ours) == sent(theirs) == [1, 1, 1]
load_cert_chain(ours, rsa, key)
assert sent(ours) == [1, 0, 0]
        """
    )


def test_a_key_that_is_not_the_certificate_s_is_refused_and_changes_nothing(program):
    program(
        """
server = context()
load_cert_chain(server, rsa, key)
for other in ("p256.pem.key", "ed25519.der.key"):
    error = refused(ssl.SSLError, "not the certificate's", rsa, folder / other, on=server)
    assert error.reason == "KEY_TYPE_MISMATCH", error.reason
openssl_key = folder / "other.key"
import subprocess
subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-out", openssl_key], check=True, capture_output=True)
assert refused(ssl.SSLError, "not the certificate's", rsa, openssl_key, on=server).reason == "KEY_VALUES_MISMATCH"
shakes_hands(server, rsa)
        """
    )


def test_what_is_no_key_is_refused(program):
    program(
        """
whole = {form: (folder / f"rsa2048.{form}.key").read_bytes() for form in ("pem", "der", "encrypted", "encrypted-der")}
for form, data in whole.items():
    for size in (0, 1, 10, 100, len(data) // 2, len(data) - 40):
        refused(ssl.SSLError, "cannot be read", rsa, SecureBytes(data[:size]), password)
refused(ssl.SSLError, "cannot be read", rsa, rsa)
refused(ssl.SSLError, "cannot be read", rsa, SecureBytes.random(5000))
refused(ssl.SSLError, "cannot be read", rsa, SecureBytes(b"-----BEGIN PRIVATE KEY-----"))
refused(ssl.SSLError, "cannot be read", rsa, folder / "rsa2048.encrypted.key", "wrong")
refused(ssl.SSLError, "cannot be read", rsa, folder / "rsa2048.encrypted-der.key", b"")
refused(ValueError, "no password", rsa, folder / "rsa2048.encrypted.key")
refused(ValueError, "longer than", rsa, folder / "rsa2048.encrypted.key", b"x" * 5000)
refused(ssl.SSLError, "certificate cannot be read", key, key)
truncated = folder / "truncated.pem"
truncated.write_bytes(rsa.read_bytes()[:-100])
refused(ssl.SSLError, "certificate cannot be read", truncated, key)
        """
    )


@pytest.mark.parametrize("form", ["PEM", "encrypted PEM", "DER", "encrypted DER"])
@pytest.mark.parametrize("kind", keys.KINDS)
def test_of_a_key_that_is_refused_nothing_is_left(tmp_path, kind, form):
    """Scanned from outside; of Python's own way, the control, something is."""
    (tmp_path / "other").mkdir()
    key = keys.make(kind, tmp_path)
    another = keys.make("P-256" if kind == "Ed25519" else "Ed25519", tmp_path / "other").certificate
    by_step = found(REFUSALS, key, form, "secalloc", another, key.certificate)
    assert nothing(by_step), by_step
    if "DER" not in form:
        assert not nothing(found(REFUSALS, key, form, "ordinary", another, key.certificate))


def test_a_hundred_megabytes_of_garbage_are_refused_and_nothing_grows(program):
    program(
        """
from secalloc_ext.libcrypto import heap
garbage = folder / "garbage"
with open(garbage, "wb") as file:
    file.truncate(100 << 20)
def state():
    gc.collect()
    heap().trim()
    return heap().stats().live_bytes, heap().stats().committed
server = context()
load_cert_chain(server, rsa, key)
def all_of_it():
    refused(ValueError, "1048576", rsa, garbage, on=server)
    refused(ValueError, "1048576", garbage, key, on=server)
    refused(ValueError, "1048576", rsa, SecureBytes(2 << 20), on=server)
    refused(ssl.SSLError, "", rsa, SecureBytes.random(1 << 20), on=server)
    refused(ssl.SSLError, "", rsa, SecureBytes(whole[:500]), on=server)
    refused(ssl.SSLError, "", rsa, folder / "p256.pem.key", on=server)
    refused(ssl.SSLError, "", rsa, folder / "rsa2048.encrypted.key", "wrong", on=server)
whole = key.read_bytes()
all_of_it()
before = state()
for _ in range(20):
    all_of_it()
live, committed = state()
assert abs(live - before[0]) < 4096 and committed <= before[1] + 65536, (before, live, committed)
        """
    )


def test_wrong_arguments_are_told(program):
    program(
        """
refused(TypeError, "not bytes", rsa, key.read_bytes())
refused(TypeError, "not int", rsa, 5)
refused(TypeError, "SSLContext", rsa, key, on=object())
refused(FileNotFoundError, "nothing", rsa, folder / "nothing")
refused(FileNotFoundError, "nothing", folder / "nothing", key)
wiped = SecureBytes(key.read_bytes())
wiped.wipe()
from secalloc import WipedError
refused(WipedError, "", rsa, wiped)
try:
    load_cert_chain(context(), rsa, folder / "rsa2048.encrypted.key", 5)
    raise SystemExit("it was taken")
except TypeError:
    pass
        """
    )


def test_without_install_no_key_is_taken(made):
    succeed(
        """
        import ssl, sys
        from secalloc import TooLateError
        from secalloc.openssl import load_cert_chain
        try:
            load_cert_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), f"{sys.argv[1]}/p256.pem", "key")
        except TooLateError as error:
            assert "install() comes first" in str(error)
        else:
            raise SystemExit("it was taken")
        """,
        made,
    )


def test_a_layout_that_is_not_known_is_refused(made):
    """A context whose first field is no block that was allocated for it, as of a Python that has it elsewhere."""
    succeed(
        """
        import sys
        from secalloc import UnsupportedError, openssl
        openssl.install()
        import ssl
        real, ssl.SSLContext = ssl.SSLContext, type("Elsewhere", (), {"__init__": lambda self, kind: None})
        context = real(ssl.PROTOCOL_TLS_SERVER)
        from secalloc_ext import tlskeys
        try:
            tlskeys.load(openssl._library("_ssl"), context, b"", b"", None)
        except UnsupportedError as error:
            assert "SSL_CTX" in str(error), error
        else:
            raise SystemExit("it was taken")
        ssl.SSLContext = real
        openssl.load_cert_chain(context, f"{sys.argv[1]}/p256.pem", f"{sys.argv[1]}/p256.der.key")
        """,
        made,
    )


def test_a_context_s_subclass_is_taken(program):
    program(
        """
class Mine(ssl.SSLContext):
    pass
server = Mine(ssl.PROTOCOL_TLS_SERVER)
server.options |= ssl.OP_NO_TICKET
server.verify_mode = ssl.CERT_REQUIRED
load_cert_chain(server, rsa, key)
        """
    )
