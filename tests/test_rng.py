"""The stream that places objects, against ChaCha8 as its author describes it."""
import ctypes
import struct
from pathlib import Path

import pytest
from support.compiler import shared_library

import secalloc_ext

LANES, WORDS = 4, 16
CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")
ROUNDS = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
          (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]  # fmt: skip


class Rng(ctypes.Structure):
    _fields_ = (("key", ctypes.c_uint32 * 8), ("block", ctypes.c_uint64), ("bytes", ctypes.c_uint8 * 256),
                ("next", ctypes.c_uint8))  # fmt: skip


def chacha(key, block, rounds):
    """Bernstein, "ChaCha, a variant of Salsa20", section 2 and 3."""
    start = [*CONSTANTS, *key, block & 0xFFFFFFFF, block >> 32, 0, 0]
    x = list(start)
    for _ in range(rounds // 2):
        for a, b, c, d in ROUNDS:
            for i, j, k, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                x[i] = (x[i] + x[j]) & 0xFFFFFFFF
                x[k] ^= x[i]
                x[k] = (x[k] << by | x[k] >> 32 - by) & 0xFFFFFFFF
    return [(one + other) & 0xFFFFFFFF for one, other in zip(x, start, strict=True)]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    include = Path(secalloc_ext.__file__).parent
    return ctypes.CDLL(str(shared_library("rng", tmp_path_factory.mktemp("rng"), f"-I{include}")))


def filled(library, key, block):
    rng = Rng(key=(ctypes.c_uint32 * 8)(*key), block=block)
    library.fill(ctypes.byref(rng))
    return rng


def test_the_reference_gives_the_published_block():
    """RFC 8439, A.1, test vector 1: twenty rounds, all else zero."""
    start = bytes.fromhex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    assert struct.pack("<16I", *chacha([0] * 8, 0, 20)).startswith(start)


@pytest.mark.parametrize("block", [0, 7, 2**32 - 2, 2**64 - 8])
def test_four_blocks_lie_word_by_word(library, block):
    key = [0x01234567 * (i + 1) & 0xFFFFFFFF for i in range(8)]
    rng = filled(library, key, block)
    words = struct.unpack("<64I", bytes(rng.bytes))
    for lane in range(LANES):
        assert list(words[lane::LANES]) == chacha(key, block + lane, 8)
    assert (rng.block, rng.next) == (block + LANES, 1)
