"""SecureBytes in the roles of a bytes-like object: a sequence, a buffer, a pattern's subject, a number; and frozen."""
import collections.abc
import hashlib
import io
import operator
import os
import socket
import struct
import sys

import pytest
from support.fixtures import nothing_leaks  # noqa: F401

from secalloc import Heap, ProtectedError, SecureBytes, WipedError

SECRET = b"Correct horse, battery\tstaple"


# --- a sequence ---


def test_it_has_all_of_a_sequence_and_does_not_say_that_it_is_one():
    """As tools that explain things show sequences item by item."""
    key = SecureBytes(SECRET)
    assert isinstance(key, collections.abc.Collection)
    assert not isinstance(key, collections.abc.Sequence)
    assert not isinstance(key, collections.abc.Hashable)
    assert isinstance(bytearray(), collections.abc.Sequence)
    assert bytes(reversed(key)) == SECRET[::-1]
    for name in ("__contains__", "__getitem__", "__iter__", "__len__", "index", "count"):
        assert hasattr(collections.abc.Sequence, name)
        assert hasattr(key, name)


def test_it_is_a_buffer_where_there_is_such_a_class():
    assert hasattr(collections.abc, "Buffer") == hasattr(SecureBytes, "__buffer__") == (sys.version_info >= (3, 12))
    if sys.version_info >= (3, 12):
        assert issubclass(SecureBytes, collections.abc.Buffer)
        with SecureBytes(SECRET).__buffer__(0) as view:
            assert view == SECRET


@pytest.mark.parametrize("make", [SecureBytes, bytearray])
def test_no_pattern_of_a_sequence_matches_it(make):
    match make(b"ab"):
        case [first, second]:
            pytest.fail(f"matched {first} and {second}")
        case value:
            assert value == b"ab"
    match [97, 98]:
        case [first, second]:  # the control
            assert (first, second) == (97, 98)


def test_it_matches_a_pattern_of_its_class_and_of_equal_bytes():
    match SecureBytes(SECRET):
        case SecureBytes(wiped=False) as key:
            assert key == SECRET
        case _:
            pytest.fail("not matched")


def test_iterators_are_independent_and_exhausted_once():
    key = SecureBytes(b"abc")
    one, other = iter(key), iter(key)
    assert next(one) == next(other) == 97
    assert list(one) == [98, 99]
    assert next(one, None) is None
    assert operator.length_hint(other) == 2
    assert sorted(key, reverse=True) == [99, 98, 97]
    assert list(zip(key, reversed(key), strict=True)) == [(97, 99), (98, 98), (99, 97)]
    assert [*key] == list(b"abc")


def test_addition_makes_another_object_and_leaves_the_name_s_old_one_alone():
    key = first = SecureBytes(b"ab")
    key += b"cd"
    assert type(key) is SecureBytes
    assert (key, first) == (b"abcd", b"ab")
    key *= 2
    assert key == b"abcdabcd"


def test_a_secret_on_the_right_of_bytes_makes_no_ordinary_copy():
    heap = Heap("right")
    for left in (b"ab", bytearray(b"ab")):
        made = left + SecureBytes(b"cd", heap=heap)
        assert type(made) is SecureBytes
        assert made.heap is heap
        assert made == b"abcd"


# --- a buffer ---


def test_struct_packs_into_it_and_unpacks_from_it():
    key = SecureBytes(12)
    struct.pack_into("<HI", key, 2, 0xABCD, 7)
    assert struct.unpack_from("<HI", key, 2) == (0xABCD, 7)
    assert key == b"\0\0\xcd\xab\7" + bytes(7)


@pytest.mark.parametrize("code", "bBhHiIqQfdc")
def test_its_views_can_be_cast(code):
    key = SecureBytes(bytes(range(1, 65)))  # none of which is a NaN, whose bits a copy may change
    view = memoryview(key).cast(code)
    assert view.nbytes == 64
    view[1] = view[0]
    size = view.itemsize
    assert key[size : 2 * size] == key[:size]
    assert memoryview(key).cast("B", (4, 4, 4)).tolist()[1][0][0] == key[16]


def test_files_and_sockets_read_into_it_and_write_it(tmp_path):
    path = tmp_path / "key"
    key = SecureBytes.random(1_000)
    for buffering in (0, -1):
        with open(path, "wb", buffering) as file:
            assert file.write(key) == 1_000
        got = SecureBytes(1_000)
        with open(path, "rb", buffering) as file:
            assert file.readinto(got) == 1_000
        assert got == key
    one, other = socket.socketpair()
    with one, other:
        one.sendall(key)
        got = SecureBytes(1_000)
        assert other.recv_into(got) == 1_000
    assert got == key
    fd = os.open(path, os.O_RDWR)
    assert os.preadv(fd, [got], 0) == os.pwritev(fd, [key, got], 0) // 2 == 1_000
    os.close(fd)
    assert io.BytesIO(key).getvalue() == key
    assert hashlib.sha256(key).digest() == hashlib.sha256(bytes(key)).digest()


def test_it_is_a_number_to_who_asks_for_one():
    key = SecureBytes(b"\x12\x34")
    assert int.from_bytes(key, "big") == 0x1234
    assert int(SecureBytes(b"12")) == 12
    with pytest.raises(TypeError):
        operator.index(key)


# --- frozen ---


@pytest.fixture(params=[False, True], ids=["plain", "guarded"])
def frozen(request):
    with SecureBytes(SECRET, guarded=request.param) as key:
        assert not key.frozen
        key.freeze()
        yield key


WRITES = {
    "an item": lambda key: key.__setitem__(0, 1), "a slice": lambda key: key.__setitem__(slice(2), b"xy"),
    "reverse": SecureBytes.reverse, "take": SecureBytes.take,
    "pack_into": lambda key: struct.pack_into("B", key, 0, 1), "readinto": lambda key: io.BytesIO(b"xyz").readinto(key),
    "preadv": lambda key: os.preadv(0, [key], 0),
}  # fmt: skip


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_is_frozen_is_not_written(frozen, write):
    with pytest.raises((ProtectedError, TypeError), match=r"frozen|read-write"):
        write(frozen)
    assert frozen == SECRET


def test_what_is_frozen_is_read_as_ever_through_views_that_do_not_write(frozen):
    frozen.freeze()
    assert frozen.frozen
    view = memoryview(frozen)
    assert view.readonly
    with pytest.raises(TypeError, match="read-only"):
        view[0] = 1
    assert bytes(view) == bytes(frozen) == SECRET
    assert frozen.split()[0] == b"Correct"
    assert hashlib.sha256(frozen).digest() == hashlib.sha256(SECRET).digest()
    view.release()
    assert memoryview(frozen).readonly


def test_copies_of_what_is_frozen_are_not_frozen(frozen):
    for made in (frozen.copy(), frozen[:], frozen[::2], frozen + b"", SecureBytes(frozen)):
        assert not made.frozen
        made[0] = 1
    assert frozen == SECRET


def test_what_is_frozen_can_be_wiped(frozen):
    view = memoryview(frozen)
    frozen.wipe()
    assert bytes(view) == bytes(len(SECRET))
    with pytest.raises(WipedError):
        frozen.freeze()


def test_a_heap_wipes_what_is_frozen():
    heap = Heap("frozen")
    key = SecureBytes(SECRET, heap=heap)
    key.freeze()
    heap.wipe()
    assert key == bytes(len(SECRET))


@pytest.mark.parametrize("guarded", [False, True])
def test_nothing_is_frozen_that_has_a_view_through_which_could_be_written(guarded):
    key = SecureBytes(SECRET, guarded=guarded)
    view = memoryview(key)
    with pytest.raises(BufferError):
        key.freeze()
    assert not key.frozen
    view[0] = key[0] = 1
    view.release()
    key.freeze()
    assert key.frozen


def test_a_guarded_one_that_is_frozen_can_be_closed_and_only_read_when_opened():
    key = SecureBytes(SECRET, guarded=True)
    with key.unlocked():
        key.freeze()
        with pytest.raises(ProtectedError, match="frozen"):
            key[0] = 1
    with pytest.raises(ProtectedError, match="frozen"):
        key.readwrite()
    key.noaccess()
    with pytest.raises(ProtectedError, match="noaccess"):
        len(key)
    with key.unlocked():
        assert key == SECRET
        assert memoryview(key).readonly
        with pytest.raises(ProtectedError, match="frozen"):
            key[0] = 1
    with pytest.raises(ProtectedError, match="noaccess"):
        len(key)
    key.readonly()
    assert key == SECRET


def test_an_object_in_the_header_of_a_frozen_one_is_not_frozen():
    for _ in range(200):
        key = SecureBytes(b"ab")
        assert not key.frozen
        key[0] = 1
        key.freeze()
