"""Strategies that several targets have in common. What they make is plain, so that an example can be read when it is
told."""
import array
import ctypes
from typing import NamedTuple

from hypothesis import strategies as st

from secalloc import SecureBytes

LETTERS = b"aAbZz09 ,=\t\r\n+-\x0b\x00\x7f\x80\xff"
EDGES = (0, 1, 7, 8, 9, 16, 24, 25, 32, 40, 41, 56, 120, 121, 1_016, 1_017, 4_087, 4_088, 4_089, 4_096, 16_384, 16_392,
         16_393, 70_000, 126_977)  # fmt: skip
# More than any machine has: nothing between is tried, as it might be had.
HUGE = (2**62, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 2**100, -(2**100))

SHORT = st.lists(st.sampled_from(LETTERS), max_size=40).map(bytes)
SOME = st.lists(st.sampled_from(LETTERS), max_size=3).map(bytes)
LONG = st.builds(lambda some, size: ((b"a" + some) * size)[:size], SOME, st.sampled_from(EDGES))
CONTENT = st.one_of(SHORT, SHORT, SOME, LONG, st.binary(max_size=64))
TEXT = st.text(st.sampled_from("aZ09 \t\n\x00\x7f\x80\xe9\xff\u0100\u20ac\ud800\udc80\uffff\U0001f600"), max_size=30)
SMALL = st.integers(-3, 40)
ENDS = st.one_of(st.none(), st.integers(-50, 50), st.sampled_from(HUGE))
SLICES = st.builds(slice, ENDS, ENDS, ENDS)


class Index(NamedTuple):
    """An integer by `__index__` only."""

    value: int

    def __index__(self):
        return self.value


class Refuses(NamedTuple):
    """An `__index__` that raises."""

    error: type

    def __index__(self):
        raise self.error("no index")


def address_sized(data):
    """As a ctypes array of pairs of bytes."""
    return (ctypes.c_uint16 * (len(data) // 2)).from_buffer_copy(data[: len(data) // 2 * 2])


SOURCES = {
    "bytes": bytes,
    "bytearray": bytearray,
    "view": memoryview,
    "backwards": lambda data: memoryview(data)[::-1],
    "every third": lambda data: memoryview(data)[::3],
    "shape": lambda data: memoryview(data[: len(data) // 6 * 6]).cast("B", (len(data) // 6, 2, 3))
    if len(data) > 5 else memoryview(data),
    "longs": lambda data: memoryview(data[: len(data) // 8 * 8]).cast("q"),
    "array": lambda data: array.array("B", data),
    "ctypes": address_sized,
    "SecureBytes": SecureBytes,
    "frozen": lambda data: frozen(data),
}  # fmt: skip


def frozen(data):
    key = SecureBytes(data)
    key.freeze()
    return key


class Source(NamedTuple):
    """A buffer of some kind, to be made when it is needed."""

    kind: str
    data: bytes

    def make(self):
        return SOURCES[self.kind](self.data)


def sources(data, kinds=tuple(SOURCES)):
    return st.builds(Source, st.sampled_from(kinds), data)


# Neither a size nor bytes, to anybody.
NEITHER = st.sampled_from(
    [None, 1.5, object, Refuses(TypeError), Refuses(ZeroDivisionError), Refuses(ValueError), print]
)
