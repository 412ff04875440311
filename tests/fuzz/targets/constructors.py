"""All ways into a SecureBytes, beside what bytearray and the standard library make of the same."""
import base64
import binascii
import os
import socket
import tempfile

from hypothesis import given
from hypothesis import strategies as st

from fuzz.behaviour import saw
from fuzz.compare import alike, is_error, outcome
from fuzz.values import CONTENT, EDGES, HUGE, NEITHER, SMALL, TEXT, Index, sources
from fuzz.ways import Ways
from secalloc import ProtectedError, SecureBytes

CODECS = (
    "utf-8", "ascii", "latin-1", "utf-16", "utf-32-be", "utf-7", "cp1252", "idna", "no such codec", "", "rot13", "\0",
)  # fmt: skip
HANDLERS = (
    "strict", "ignore", "replace", "backslashreplace", "surrogateescape", "surrogatepass", "namereplace", "no such",
)  # fmt: skip
WHOLE = [None, None, *EDGES, -1, *HUGE]  # sizes to read
way = Ways()
os.environ["CREDENTIALS_DIRECTORY"] = FOLDER = tempfile.mkdtemp(dir=os.getcwd())


SIZES = st.one_of(SMALL, st.sampled_from(EDGES), st.sampled_from(HUGE), SMALL.map(Index), st.booleans())


@way(SIZES, st.booleans())
def size(count, guarded):
    if not -1 < int(count.__index__()) < 2**40:
        guarded = False  # the same, and it may be refused by another limit
    key = alike("size", lambda: SecureBytes(count, guarded=guarded), lambda: bytearray(count), count.__index__())
    assert is_error(key) or key.guarded == guarded


@way(sources(CONTENT), st.booleans())
def buffer(source, guarded):
    made = source.make()
    alike(
        f"buffer {source.kind}", lambda: SecureBytes(made, guarded=guarded), lambda: bytearray(made), len(source.data)
    )
    assert bytes(source.make()) == bytes(made)


@way(NEITHER)
def neither(what):
    alike(f"neither {what!r:.20}", lambda: SecureBytes(what), lambda: bytearray(what))


@way(st.lists(st.integers(-1, 256), max_size=5), st.sampled_from([list, tuple, set, iter, dict.fromkeys]))
def iterable(items, kind):
    """Is refused, as Python's ints would hold the secret; bytes of it are one call away."""
    alike("iterable", lambda: SecureBytes(kind(items)), lambda: bytearray(None))


@way(TEXT, st.sampled_from([*CODECS, None]), st.sampled_from([*HANDLERS, None]))
def text(characters, codec, handler):
    given = [characters] + [codec] * (codec is not None) + [handler] * (codec is not None and handler is not None)
    alike(f"text {codec} {handler}", lambda: SecureBytes(*given), lambda: bytearray(*given), len(characters))


HEX = st.lists(st.sampled_from("0123456789abcdefABCDEF  \t\n\x0b\x0c\x1fgx\xe9\u0661"), max_size=40).map("".join)
SPELLED = st.builds(
    lambda data, gap: data.hex(gap) if gap else data.hex(), CONTENT, st.sampled_from(["", " ", "\t", ":"])
)


@way(st.one_of(HEX, SPELLED, SPELLED), st.booleans())
def fromhex(digits, as_bytes):
    given = digits.encode("utf-8") if as_bytes else digits
    alike("fromhex", lambda: SecureBytes.fromhex(given), lambda: bytearray.fromhex(digits), len(digits))


@way(sources(CONTENT))
def take(source):
    """A writable source is zero afterwards; another is refused, and stays."""

    def model():
        if not writable:
            raise ProtectedError if source.kind == "frozen" else TypeError
        return before

    made = source.make()
    writable = not memoryview(made).readonly and memoryview(made).c_contiguous
    size = len(bytes(made))
    before = bytes(made)
    alike(f"take {source.kind}", lambda: SecureBytes.take(made), model, size)
    assert bytes(made) == (bytes(size) if writable else before)


OTHERS = st.sampled_from(["", "\n", "=", "==", " ", "-_", "!", "\x00", "\xe9"])
BASE64 = st.one_of(
    st.builds(
        lambda data, at, other: (lambda t: t[:at] + other + t[at:])(base64.b64encode(data).decode()),
        CONTENT,
        SMALL,
        OTHERS,
    ),
    st.lists(st.sampled_from("AQgw+/-_09=\n"), max_size=14).map("".join),
)


@way(BASE64, st.booleans(), st.booleans(), st.booleans())
def from_base64(text, as_bytes, urlsafe, validate):
    """What has padding that nothing needs is refused by some versions of the standard library only, and here."""
    given = text.encode("utf-8") if as_bytes else text
    answer = outcome(lambda: SecureBytes.from_base64(given, urlsafe=urlsafe, validate=validate))
    plain = text.encode("utf-8")
    alphabet = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    digits = (
        bytes(byte for byte in plain if 43 <= byte <= 122 and chr(byte) in ALPHABETS[urlsafe])
        if not validate
        else plain
    )
    saw("from_base64", urlsafe, validate, is_error(answer) and answer.__name__, len(plain) % 4)
    if is_error(answer):
        assert issubclass(answer, ValueError)
        assert not text.isascii() or issubclass(answer, binascii.Error)
        # What it spells correctly, and nobody else could have written, is never refused.
        good = outcome(lambda: base64.b64decode(plain, b"-_" if urlsafe else None, validate=True))
        assert is_error(good) or alphabet(good) != plain
    else:
        spelled = alphabet(bytes(answer)).rstrip(b"=")
        assert len(spelled) == len(digits.rstrip(b"="))
        assert digits.rstrip(b"=")[:-1] == spelled[:-1]  # of the last digit some bits may count for nothing


ALPHABETS = {False: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
             True: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"}  # fmt: skip


def index(size):
    """As a size is refused."""
    if not -(2**63) <= size < 2**63:
        raise OverflowError
    if size < 0:
        raise ValueError


def read_as(content, size, max_size):
    """What a reader of `content` is to answer."""
    if size is not None:
        if max_size is not None:
            raise TypeError
        index(size)
        if size > 2**40:
            raise MemoryError
        if size > len(content):
            raise EOFError
        return content[:size]
    if max_size is not None:
        index(max_size)
        if len(content) > max_size:
            raise ValueError
    return content


LIMITS = st.one_of(st.tuples(st.sampled_from(WHOLE), st.none()), st.tuples(st.none(), st.sampled_from(WHOLE)),
                   st.just((1, 1)), st.tuples(SMALL, st.none()), st.tuples(st.none(), SMALL))  # fmt: skip


@way(CONTENT, st.sampled_from(["pipe", "memfd", "middle", "path", "credential"]), LIMITS)
def from_file(content, kind, limits):
    size, max_size = limits
    content = content[:60_000]  # a pipe holds 64 KiB
    how = f"from_file {kind} {size is not None} {max_size is not None}"
    if kind == "credential":
        with open(os.path.join(FOLDER, "name"), "wb") as file:
            file.write(content)
        alike(
            how,
            lambda: SecureBytes.from_credential("name", max_size=max_size),
            lambda: read_as(content, None, max_size),
        )
        return
    if kind == "pipe":
        descriptor, end = os.pipe()
        os.write(end, content)
        os.close(end)
    else:
        descriptor = os.memfd_create("content")
        os.write(descriptor, content)
        os.lseek(descriptor, len(content) // 2 if kind == "middle" else 0, os.SEEK_SET)
        content = content[len(content) // 2 if kind == "middle" else 0 :]
    given = f"/proc/self/fd/{descriptor}" if kind == "path" else descriptor
    try:
        alike(how, lambda: SecureBytes.from_file(given, size=size, max_size=max_size),
              lambda: read_as(content, size, max_size), len(content))  # fmt: skip
    finally:
        os.close(descriptor)


@way(st.one_of(st.sampled_from(["", ".", "..", "a/b", "/etc/passwd", "no such", "\0", "a\0b", "\udc80"]), TEXT), SMALL)
def from_credential(name, most):
    """No name leads out of the folder."""
    answer = outcome(lambda: SecureBytes.from_credential(name, max_size=most))
    saw("from_credential", name[:1], is_error(answer) and answer.__name__)
    assert is_error(answer) or name == "name"
    assert name == "name" or issubclass(answer, ValueError | OSError)


@way(CONTENT.filter(lambda data: b"\0" not in data), st.booleans(), st.booleans())
def from_env(value, remove, as_bytes):
    name = b"SECALLOC_FUZZED"
    os.environb[name] = value
    alike(
        "from_env",
        lambda: SecureBytes.from_env(name if as_bytes else name.decode(), remove=remove),
        lambda: value,
        len(value),
    )
    assert os.environb.pop(name, None) == (None if remove else value)
    assert outcome(lambda: SecureBytes.from_env(name)) is KeyError


@way(CONTENT, LIMITS)
def from_socket(content, limits):
    size, max_size = limits
    content = content[:60_000]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(content)
        theirs.shutdown(socket.SHUT_WR)
        alike(f"from_socket {size is not None} {max_size is not None}",
              lambda: SecureBytes.from_socket(ours, size, max_size=max_size),
              lambda: read_as(content, size, max_size), len(content))  # fmt: skip


@way(SIZES)
def random(count):
    alike("random", lambda: len(SecureBytes.random(count)), lambda: len(bytearray(count)))


@given(way.lists(6))
def check(steps):
    for step in steps:
        way.go(step)
