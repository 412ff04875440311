"""Looks for parts of needles in much memory without ever having one in its own.

All that is read is coded at once, in place, each word multiplied by an odd number; what is looked for is known by its
code only. So neither the needles nor what was read is in this process in plain, except for what lies in the one buffer
between the read and the coding: a needle found in ordinary memory may be found there once more. A code that undoes
itself, as an exclusive or, would not do: this process reads its own tables, too, and would make plain needles of them.

Looked at is each aligned word of 8 bytes, beside every 8 bytes of every needle: found is any copy of 15 bytes or more,
wherever it begins, and of 8 bytes where it begins at a word.
"""
from __future__ import annotations

import ctypes
import shlex
import subprocess
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from secalloc.attacks import Needle

__all__ = ["CHUNK", "LIBRARY", "WORD", "Place", "Search", "compile_library"]

FACTOR = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, odd: it spreads over the highest bits. Knuth, volume 3, 6.4
CHUNK = 1 << 22  # bytes read at once
WORD = 8
FILTER_BYTES = 1 << 17
LIBRARY = Path(__file__).with_name("words.so")


def compile_library(target: Path = LIBRARY) -> None:
    """``words.c``, by the interpreter's own compiler: on the host, for the image."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*compiler, *flags, "-o", target, Path(__file__).with_name("words.c")], check=True)


class Place(NamedTuple):
    """`words` of a needle that would begin at `at`, in order; fewer than all of them where part of it is there."""

    needle: str
    at: int
    words: int


def _codes(needle: Needle) -> list[int]:
    """Of every 8 bytes of a needle. Of the plain ones only numbers are made, which Python keeps by 30 bits."""
    pad, coded = bytes.fromhex(needle.pad), bytes.fromhex(needle.coded)
    found = []
    for i in range(len(pad) - WORD + 1):
        word = sum((pad[i + k] ^ coded[i + k]) << 8 * k for k in range(WORD))
        found.append(word * FACTOR & (1 << 64) - 1)
    return found


class Search:
    """`read`: bytes that were looked at so far."""

    def __init__(self, needles: Iterable[Needle], library: Path = LIBRARY) -> None:
        self.read = 0
        self._library = ctypes.CDLL(str(library))
        self._library.words_code_and_filter.restype = ctypes.c_size_t
        self._filter = (ctypes.c_uint64 * (FILTER_BYTES // WORD))()
        self._parts: dict[int, tuple[str, int]] = {}  # by code: needle, and where in it
        for needle in needles:
            for i, code in enumerate(_codes(needle)):
                self._parts[code] = needle.name, i
                self._library.filter_add(self._filter, ctypes.c_uint64(code))
        self._buffer = np.empty(CHUNK // WORD, np.uint64)
        self._maybe = np.empty(CHUNK // WORD, np.uint32)

    def places(self, size: int, read_into: Callable[[memoryview, int], int]) -> list[Place]:
        """All in `size` bytes, which are whole words. ``read_into(buffer, offset)`` reads as many as it says."""
        found: dict[tuple[str, int], int] = {}
        done = 0
        while done < size:
            got = read_into(memoryview(self._buffer).cast("B")[: size - done], done)
            if got <= 0 or got % WORD:
                raise EOFError(f"{size - done} of {size} bytes could not be read: {got}")
            for at, code in self._candidates(got // WORD):
                if code in self._parts:
                    name, i = self._parts[code]
                    place = name, done + at * WORD - i
                    found[place] = found.get(place, 0) + 1
            done += got
            self.read += got
        return [Place(name, at, words) for (name, at), words in sorted(found.items(), key=lambda each: each[0][1])]

    def _candidates(self, count: int) -> list[tuple[int, int]]:
        """Index and code of words that may be parts of needles. All of the buffer is coded now."""
        n = self._library.words_code_and_filter(
            ctypes.c_void_p(self._buffer.ctypes.data), ctypes.c_size_t(count), ctypes.c_uint64(FACTOR), self._filter,
            ctypes.c_void_p(self._maybe.ctypes.data),
        )  # fmt: skip
        indices = self._maybe[:n]
        return list(zip(indices.tolist(), self._buffer[indices].tolist(), strict=True))
