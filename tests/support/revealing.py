"""What the tests of revealed objects share: the plain object and the revealed one, and whether they answer alike."""
import ctypes

from hypothesis import strategies as st

from secalloc import SecureBytes
from support import maps

Bytes = type(SecureBytes(b"x").reveal())
Str = type(SecureBytes(b"x").reveal_str())
HEADER = bytes.__basicsize__ - 1

_consistent = ctypes.pythonapi._PyUnicode_CheckConsistency
_consistent.argtypes = [ctypes.py_object, ctypes.c_int]


def reveal(plain, heap=None):
    """A revealed copy of bytes or of a str; of nothing, nothing."""
    if isinstance(plain, str):
        return SecureBytes(plain.encode("utf-8", "surrogatepass"), heap=heap).reveal_str(errors="surrogatepass")
    return SecureBytes(plain, heap=heap).reveal()


def payload_of(data):
    """Where the bytes of a bytes object lie."""
    return id(data) + HEADER


def blocks_of(text):
    """Where the characters and the UTF-8 of a str lie, by what C code is told; 0 for no UTF-8."""
    pointer = ctypes.cast(id(text) + str.__basicsize__ - 8, ctypes.POINTER(ctypes.c_void_p))[0]
    try:
        utf8 = _as_utf8(text)
    except UnicodeEncodeError:
        utf8 = 0
    return pointer, utf8


_as_utf8 = ctypes.pythonapi.PyUnicode_AsUTF8
_as_utf8.restype = ctypes.c_void_p
_as_utf8.argtypes = [ctypes.py_object]


def check_whole(found):
    """Assert that a revealed object is what the interpreter wants such an object to be, and lies where it should."""
    if type(found) is Bytes:
        assert maps.backend_at(payload_of(found))
        assert not maps.backend_at(id(found))
        assert ctypes.string_at(payload_of(found) + len(found), 1) == b"\0"
    else:
        assert type(found) is Str
        assert _consistent(found, 1) == 1
        assert all(maps.backend_at(block) for block in blocks_of(found) if block)


def outcome(call):
    """The result of a call, or the type of its exception."""
    try:
        return call()
    except Exception as error:
        return type(error)


def assert_alike(plain, revealed):
    """Equal, and what holds text of the revealed one is revealed."""
    if isinstance(plain, (list, tuple)):
        assert type(plain) is type(revealed)
        assert len(plain) == len(revealed)
        for one, other in zip(plain, revealed, strict=True):
            assert_alike(one, other)
        return
    assert plain == revealed
    if isinstance(plain, (bytes, str)):
        assert isinstance(revealed, type(plain))
        assert hash(plain) == hash(revealed)
        assert len(plain) == len(revealed)
        if isinstance(plain, str):
            assert [*plain] == [*revealed]
        else:
            assert memoryview(plain) == memoryview(revealed)


def holds(found, *, given=()):
    """Assert that all text in a result is revealed, but for what is empty or was the caller's."""
    if isinstance(found, (list, tuple)):
        for each in found:
            holds(each, given=given)
    elif isinstance(found, (bytes, str)) and found and not any(found is each for each in given):
        assert type(found) in (Bytes, Str)


small = st.integers(-3, 9)
