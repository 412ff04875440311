"""What each way in leaves in ordinary memory: nothing; and the ordinary way, what it is thought to leave.

A fresh process gets a marker by that way, keeps it, and all its readable memory is searched for the marker.
"""
import base64
import hashlib

import pytest
from support.scanning import found_in, marker

IMPORTS = "from secalloc import SecureBytes, kdf\n"
TERMINAL = "os.open(sys.argv[2], os.O_RDWR)\n"
SOCKET = "import socket; sock = socket.socket(fileno=int(sys.argv[2]))\n"
# What is sent to the process; how it gets the marker; and how others would.
WAYS = {
    "a file": ("file", "key = SecureBytes.from_file(sys.argv[2])", "key = open(sys.argv[2], 'rb').read()"),
    "a pipe": ("pipe", "key = SecureBytes.from_file(int(sys.argv[2]))", "key = os.read(int(sys.argv[2]), 100)"),
    "a credential": (
        "credential", "key = SecureBytes.from_credential(sys.argv[2])",
        "key = open(os.path.join(os.environ['CREDENTIALS_DIRECTORY'], sys.argv[2])).read()",
    ),
    "the environment": ("variable", "key = SecureBytes.from_env(sys.argv[2])", "key = os.environ.pop(sys.argv[2])"),
    "the environment, set again": (
        "variable",
        "os.environb[b'TOKEN'] = os.environb[b'TOKEN']; key = SecureBytes.from_env(sys.argv[2])",
        "key = os.environb.pop(b'TOKEN')",
    ),
    "a terminal": (
        "terminal", TERMINAL + "key = SecureBytes.from_prompt()", TERMINAL + "import getpass; key = getpass.getpass()",
    ),
    "standard input": ("standard_input", "key = SecureBytes.from_prompt(stdin=True)", "key = input()"),
    "a socket": (
        "socket", SOCKET + "key = SecureBytes.from_socket(sock, 33)", SOCKET + "key = sock.recv(33)",
    ),
    "a socket to its end": ("socket", SOCKET + "key = SecureBytes.from_socket(sock)", SOCKET + "key = sock.recv(99)"),
    "base64": (
        "base64", "key = SecureBytes.from_base64(SecureBytes.from_file(sys.argv[2]))",
        "import base64; key = base64.b64decode(open(sys.argv[2]).read())",
    ),
    "base64 in lines": (
        "base64", "key = SecureBytes.from_base64(SecureBytes.from_file(sys.argv[2]), validate=False)",
        "import base64; key = base64.b64decode(open(sys.argv[2]).read(), validate=False)",
    ),
    "hex": (
        "hex", "key = SecureBytes.fromhex(SecureBytes.from_file(sys.argv[2]))",
        "key = bytes.fromhex(open(sys.argv[2]).read())",
    ),
}  # fmt: skip
# How what goes in comes out of the process again; the marker is in a file.
OUT = {
    "to base64": (
        "text = SecureBytes.from_file(sys.argv[2]).base64()",
        "import base64; text = base64.b64encode(open(sys.argv[2], 'rb').read())",
    ),
    "to a socket": (
        "import socket; a, b = socket.socketpair(); SecureBytes.from_file(sys.argv[2]).send(a)",
        "import socket; a, b = socket.socketpair(); data = open(sys.argv[2], 'rb').read(); a.sendall(data)",
    ),
    "to a file": (
        "SecureBytes.from_file(sys.argv[2]).write_to(os.memfd_create('out'))",
        "data = open(sys.argv[2], 'rb').read(); os.write(os.memfd_create('out'), data)",
    ),
}
SALT = b"pinch of salt"
SIZES = [16, 32, 64, 80]  # below and above a hash's own
KDFS = {
    "pbkdf2_hmac": (
        f"kdf.pbkdf2_hmac('sha256', secret, {SALT}, 100, size)",
        f"__import__('hashlib').pbkdf2_hmac('sha256', secret, {SALT}, 100, size)",
    ),
    "scrypt": (
        f"kdf.scrypt(secret, salt={SALT}, n=256, r=8, p=1, size=size)",
        f"__import__('hashlib').scrypt(secret, salt={SALT}, n=256, r=8, p=1, dklen=size)",
    ),
    "argon2id": (
        f"kdf.argon2id(secret, salt={SALT}, time_cost=1, memory_cost=64, parallelism=2, size=size)",
        f"__import__('argon2').low_level.hash_secret_raw(bytes(secret), {SALT}, 1, 64, 2, size, "
        "__import__('argon2').Type.ID)",
    ),
    "hkdf": (
        f"kdf.hkdf('sha256', secret, size, salt={SALT})",
        "__import__('cryptography.hazmat.primitives.kdf.hkdf').hazmat.primitives.kdf.hkdf.HKDF("
        f"__import__('cryptography.hazmat.primitives.hashes').hazmat.primitives.hashes.SHA256(), size, {SALT}, b'')"
        ".derive(secret)",
    ),
}
AS = {"base64": base64.b64encode, "hex": lambda secret: secret.hex().encode()}


def fed(way, secret):
    """What to tell `found_in`, and the forms of the secret to look for."""
    text = AS.get(way, bytes)(secret)

    def feed(feeding):
        if way == "credential":
            feeding.environment["CREDENTIALS_DIRECTORY"] = str(feeding.folder)
            feeding.file(text, "token")
            return "token"
        if way == "variable":
            return feeding.variable("TOKEN", text)
        return getattr(feeding, "file" if way in AS else way)(text)

    return feed, {"secret": secret} | ({"text": text} if way in AS else {})


@pytest.mark.parametrize("way", WAYS)
def test_a_way_in_leaves_nothing_in_ordinary_memory(tmp_path, way):
    feed, needles = fed(WAYS[way][0], marker())
    code = IMPORTS + WAYS[way][1] + "\nassert holds('secret', key)\nready()"
    assert found_in(code, feed, needles, tmp_path) == set()


@pytest.mark.parametrize("way", WAYS)
def test_the_ordinary_way_in_leaves_the_secret(tmp_path, way):
    feed, needles = fed(WAYS[way][0], marker())
    code = IMPORTS + WAYS[way][2] + "\nassert holds('secret', key)\nready()"
    assert "secret" in found_in(code, feed, needles, tmp_path)


@pytest.mark.parametrize(("ours", "ordinary"), OUT.values(), ids=OUT)
def test_a_way_out_leaves_nothing_in_ordinary_memory_and_the_ordinary_one_does(tmp_path, ours, ordinary):
    secret = marker()
    needles = {"secret": secret, "text": base64.b64encode(secret)}
    for code, found in ((ours, False), (ordinary, True)):
        code = IMPORTS + code + "\nready()"
        assert bool(found_in(code, lambda feed: feed.file(secret), needles, tmp_path)) is found


@pytest.mark.parametrize("name", KDFS)
@pytest.mark.parametrize("size", SIZES)
def test_a_key_from_a_password_leaves_neither_in_ordinary_memory(tmp_path, name, size):
    """Not even a half of it, as the last block of a hash would be. The control: what the library's own call leaves."""
    secret = marker()
    key = key_of(name, secret, size)
    needles = {"secret": secret, "key": key, "start": key[:16], "end": key[-16:]}
    for code, leaks in zip(KDFS[name], (False, True), strict=True):
        code = f"{IMPORTS}size = {size}\nsecret = SecureBytes.from_file(sys.argv[2])\nkey = {code}\n"
        code += "assert holds('key', key)\nready()"
        found = found_in(code, lambda feed: feed.file(secret), needles, tmp_path)
        assert {"key", "start", "end"} <= found if leaks else not found


def key_of(name, secret, size):
    """The same key by the standard library, or by the library itself where that has none."""
    if name == "pbkdf2_hmac":
        return hashlib.pbkdf2_hmac("sha256", secret, SALT, 100, size)
    if name == "scrypt":
        return hashlib.scrypt(secret, salt=SALT, n=256, r=8, p=1, dklen=size)
    if name == "argon2id":
        from argon2.low_level import Type, hash_secret_raw

        return hash_secret_raw(secret, SALT, 1, 64, 2, size, Type.ID)
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), size, SALT, b"").derive(secret)
