"""Looks through the memory of a process for needles: every mapping that its process may read.

Run from another process than the one looked through, which would find its own needles. A page that cannot be read (of
secret memory, or not there) is stepped over, as is one of a private mapping that was never written.
"""
from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from secalloc_ext.windows import Windows

__all__ = ["PAGE", "Area", "Hit", "Wanted", "areas", "fragments", "hits", "runs"]

CHUNK = 1 << 22  # bytes read at once
PAGE = mmap.PAGESIZE
# By the highest byte of their entries in pagemap: present or swapped, and no page of a file.
OWN_PAGES = re.compile(rb"[\x40-\x5f\x80-\x9f\xc0-\xdf]+")
NOT_MEMORY = ("[vvar]", "[vsyscall]", "[vvar_vclock]")


class Area(NamedTuple):
    """One mapping that its process may read: first address, address behind it, and "[heap]", a file, or "".
    `private`: it shares no page that was written with others."""

    first: int
    end: int
    name: str
    private: bool


class Hit(NamedTuple):
    """A needle by its name, where it was, and in what: as `Area.name`."""

    needle: str
    address: int
    area: str


def areas(pid: int) -> Iterator[Area]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r..([ps]) \S+ \S+ \S+\s*(.*)", line)
        if match and match[4] not in NOT_MEMORY:
            yield Area(int(match[1], 16), int(match[2], 16), match[4], match[3] == "p")


def _touched(pid: int, area: Area) -> list[tuple[int, int]]:
    """The parts of a private mapping that were ever written, here or in swap; all others are zeros, or as in the file.

    See proc(5): /proc/pid/pagemap.
    """
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        entries = os.pread(file.fileno(), (area.end - area.first) // PAGE * 8, area.first // PAGE * 8)
    found: list[tuple[int, int]] = []
    for match in re.finditer(OWN_PAGES, entries[7::8]):
        found.append((area.first + match.start() * PAGE, area.first + match.end() * PAGE))
    return found


def runs(first: int, end: int, read: Callable[[int, int], bytes], overlap: int) -> Iterator[tuple[int, bytes]]:
    """What `read(address, size)` can get of a range, as addresses and bytes.

    Each piece starts with the last `overlap` bytes of the piece before it, where the two adjoin.
    """
    address, size, tail = first, CHUNK, b""
    while address < end:
        try:
            data = read(address, min(size, end - address))
        except OSError:
            data = b""
        if data:
            start, address, size = address - len(tail), address + len(data), CHUNK
            data = tail + data
            yield start, data
            tail = data[max(0, len(data) - overlap) :]
        else:
            address, size, tail = (address // PAGE + 1) * PAGE, PAGE, b""


def hits(pid: int, needles: Mapping[str, bytes]) -> list[Hit]:
    """Every place where a needle lies, in the order of addresses.

    Parameters
    ----------
    pid : another process, of which this one may read the memory
    needles : by name; two bytes or more each

    Raises
    ------
    OSError : the memory cannot be read at all
    """

    def find(data: bytes) -> Iterator[tuple[int, str]]:
        for name, needle in needles.items():
            for match in re.finditer(re.escape(needle), data):
                yield match.start(), name

    return _found(pid, find, max(map(len, needles.values())) - 1)


class Wanted(NamedTuple):
    """What `fragments` looks for: `width` bytes of `secret` that lie together, taken at every `step` bytes of it."""

    name: str
    secret: bytes
    width: int = 8
    step: int = 1


def fragments(pid: int, wanted: Iterable[Wanted]) -> list[Hit]:
    """Every place where a part of a secret lies, in the order of addresses. A part of two secrets of the same width and
    step is found as one of the first.

    Parameters
    ----------
    pid : another process, of which this one may read the memory

    Raises
    ------
    OSError : the memory cannot be read at all
    ValueError : the secrets are too short or too uniform to be told from anything else
    """
    alike: dict[tuple[int, int], list[Wanted]] = {}
    for each in wanted:
        alike.setdefault((each.width, each.step), []).append(each)
    searches = [
        ([each.name for each in some], Windows((each.secret for each in some), width, step))
        for (width, step), some in alike.items()
    ]

    def find(data: bytes) -> Iterator[tuple[int, str]]:
        for names, windows in searches:
            for offset, index in windows.find(data):
                yield offset, names[index]

    return _found(pid, find, max(width for width, _ in alike) - 1)


def _found(pid: int, find: Callable[[bytes], Iterable[tuple[int, str]]], overlap: int) -> list[Hit]:
    """What `find` finds, offsets and names, in all that can be read of a process."""
    found: dict[tuple[str, int], str] = {}
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for area in areas(pid):
            for first, end in _touched(pid, area) if area.private else [(area.first, area.end)]:
                for start, data in runs(first, end, lambda address, size: os.pread(fd, size, address), overlap):
                    for offset, name in find(data):
                        found[name, start + offset] = area.name
    finally:
        os.close(fd)
    return sorted((Hit(name, address, area) for (name, address), area in found.items()), key=lambda hit: hit.address)
