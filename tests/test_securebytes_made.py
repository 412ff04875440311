"""How a SecureBytes comes into being: by a call, by `__init__`, in the header of a dropped one."""
import ctypes
import gc
import sys
import weakref

import pytest
from support.children import succeed
from support.fixtures import nothing_leaks  # noqa: F401
from support.threads import in_threads

from secalloc import Heap, SecureBytes, WipedError

SECRET = b"correct horse battery staple"
KEPT = 64  # headers of dropped objects, at most
MANY = 3 * KEPT


class Int(int):
    def __index__(self):
        return 7


class Bytes(bytes):
    pass


class Holder(Heap):
    """One that there can be weak references to, and attributes of."""


def called(arguments, named):
    return SecureBytes(*arguments, **named)


def initialised(arguments, named):
    key = SecureBytes.__new__(SecureBytes)
    SecureBytes.__init__(key, *arguments, **named)
    return key


def result(make, arguments, named):
    """All that there is to see of what was made, or of the error."""
    try:
        key = make(arguments, named)
    except Exception as error:
        return type(error), str(error)
    return bytes(key), key.heap, key.guarded, key.wiped, gc.is_tracked(key)


HEAP = Heap("own")
POSITIONAL = [
    (), (0,), (5,), (True,), (Int(3),), (-1,), (-(2**63),), (2**40,), (2**63 - 1,), (2**63,), (2**70,), (-(2**70),),
    (b"",), (SECRET,), (bytearray(SECRET),), (bytearray(),), (Bytes(SECRET),), (memoryview(SECRET)[::2],),
    (SecureBytes(SECRET),), (None,), (1.5,), ([1],), ("text",), ("text", "ascii"), ("\u20ac", "ascii"),
    ("\u20ac", "ascii", "replace"), (b"x", "ascii"), (5, None, None), (5, None, None, None),
]  # fmt: skip
NAMED = [
    {"source": 5}, {"source": SECRET}, {"source": "text", "encoding": "utf-8"}, {"heap": HEAP}, {"heap": 3},
    {"guarded": True}, {"sauce": 5}, {"encoding": "ascii"},
]  # fmt: skip
CALLS = [(arguments, {}) for arguments in POSITIONAL] + [((), named) for named in NAMED]
CALLS += [((4,), named) for named in NAMED] + [((SECRET,), named) for named in NAMED]


@pytest.mark.parametrize(("arguments", "named"), CALLS, ids=str)
def test_a_call_answers_what_init_answers_errors_included(arguments, named):
    assert result(called, arguments, named) == result(initialised, arguments, named)


def test_calls_that_differ_are_seen_to_differ():
    """The control of the test above."""
    assert len({str(result(called, *call)) for call in CALLS}) > len(CALLS) / 2


@pytest.mark.parametrize("source", [3, SECRET, bytearray(SECRET)])
@pytest.mark.parametrize("wiped", [False, True])
def test_what_a_call_made_is_not_made_again(source, wiped):
    key = SecureBytes(source)
    if wiped:
        key.wipe()
    with pytest.raises(TypeError, match="made once"):
        key.__init__(source)
    assert key.wiped is wiped
    with pytest.raises(TypeError, match="made once"):
        key.__init__(5, heap=HEAP)
    assert HEAP.stats().live == 0


# --- the headers of dropped objects ---


def lives():
    """Objects in every state that one can be dropped in."""
    yield SecureBytes(SECRET, heap=HEAP)
    yield SecureBytes(SECRET, guarded=True)
    closed = SecureBytes(SECRET, guarded=True)
    closed.noaccess()
    yield closed
    wiped = SecureBytes(SECRET)
    wiped.wipe()
    yield wiped
    seen = SecureBytes(SECRET)
    memoryview(seen)
    yield seen
    open_ = SecureBytes(SECRET, guarded=True)
    open_.unlocked().__enter__()
    yield open_
    yield SecureBytes.__new__(SecureBytes)


@pytest.mark.parametrize("make", [lambda: SecureBytes(16), lambda: SecureBytes.fromhex("00" * 16),
                                  lambda: SecureBytes(32)[:16], lambda: SecureBytes(16).copy()])  # fmt: skip
def test_an_object_made_of_a_dropped_one_has_nothing_of_its_life(make):
    dropped = [life for _ in range(MANY) for life in lives()]
    addresses = set(map(id, dropped))
    dropped.clear()
    made = [make() for _ in range(KEPT)]
    assert addresses & set(map(id, made))  # the control: they are made of dropped ones
    for key in made:
        assert (bytes(key), key.wiped, key.guarded, key.heap.name) == (bytes(16), False, False, "default")
        with pytest.raises(TypeError, match="guarded"):
            key.noaccess()
        key[:] = b"0123456789abcdef"  # writable, and alone in its slot
    assert set(map(bytes, made)) == {b"0123456789abcdef"}


def test_a_blank_made_of_a_dropped_one_is_blank():
    del [SecureBytes(SECRET) for _ in range(MANY)][:]
    for blank in [SecureBytes.__new__(SecureBytes) for _ in range(MANY)]:
        assert blank.heap is None
        with pytest.raises(WipedError):
            bytes(blank)


def test_headers_of_dropped_objects_are_kept_up_to_a_bound():
    gc.collect()
    before = sys.getallocatedblocks()
    live = [SecureBytes(8) for _ in range(100 * KEPT)]
    assert sys.getallocatedblocks() - before > 90 * KEPT  # the control: each is a block
    del live
    assert sys.getallocatedblocks() - before < 2 * KEPT


def test_a_dropped_object_keeps_no_heap():
    heap = Holder("gone")
    gone = weakref.ref(heap)
    keys = [SecureBytes(SECRET, heap=heap) for _ in range(3)]
    del heap
    assert gone() is not None
    del keys
    assert gone() is None


def test_a_header_holds_no_secret_alive_or_dropped():
    size = SecureBytes.__basicsize__
    key = SecureBytes(SECRET)
    plain = bytes(bytearray(SECRET))
    assert SECRET in ctypes.string_at(id(plain), plain.__sizeof__())  # the control: what bytes do
    address = id(key)
    live = ctypes.string_at(address, size)
    del key
    assert SECRET[:8] not in live + ctypes.string_at(address, size)


def test_threads_that_make_and_drop_objects_by_turns_get_objects_of_their_own():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def work(i):
        mark = bytes([i + 1]) * 24
        kept = []
        for turn in range(1_500):
            kept.append(SecureBytes(mark) if turn % 3 else SecureBytes(24))
            if len(kept) > KEPT:
                assert set(map(bytes, kept)) == {mark, bytes(24)}
                kept.clear()

    try:
        in_threads(4, work)
    finally:
        sys.setswitchinterval(interval)


def test_in_a_forked_child_objects_are_made_of_dropped_ones_and_of_inherited_ones():
    succeed(
        """
        from secalloc import ForkedError, SecureBytes
        from support.forking import forked
        inherited = [SecureBytes(b"parent") for _ in range(100)]
        del [SecureBytes(b"dropped") for _ in range(100)][:]
        def refuses(key):
            try:
                bytes(key)
            except ForkedError:
                return True
        def child():
            addresses = set(map(id, inherited))
            assert all(map(refuses, inherited))
            for _ in range(3):
                made = [SecureBytes(b"child") for _ in range(200)]
                assert all(key == b"child" for key in made) and all(map(refuses, inherited))
                made.clear()
            inherited.clear()
            made = [SecureBytes(b"child") for _ in range(200)]
            assert addresses & set(map(id, made))  # the control: in the place of the parent's
            assert all(key == b"child" for key in made)
        forked(child)
        assert all(key == b"parent" for key in inherited)
        """
    )
