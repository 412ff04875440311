"""Looks through the memory of a process for needles: every mapping that its process may read.

Run from another process than the one looked through, which would find its own needles. A page that cannot be read (of
secret memory, or not there) is stepped over.
"""
from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["PAGE", "Area", "Hit", "areas", "hits", "runs"]

CHUNK = 1 << 22  # bytes read at once
PAGE = mmap.PAGESIZE
NOT_MEMORY = ("[vvar]", "[vsyscall]", "[vvar_vclock]")


class Area(NamedTuple):
    """One mapping that its process may read: first address, address behind it, and "[heap]", a file, or ""."""

    first: int
    end: int
    name: str


class Hit(NamedTuple):
    """A needle by its name, where it was, and in what: as `Area.name`."""

    needle: str
    address: int
    area: str


def areas(pid: int) -> Iterator[Area]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r\S* \S+ \S+ \S+\s*(.*)", line)
        if match and match[3] not in NOT_MEMORY:
            yield Area(int(match[1], 16), int(match[2], 16), match[3])


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
    found: dict[tuple[str, int], str] = {}
    overlap = max(map(len, needles.values())) - 1
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for area in areas(pid):
            for start, data in runs(area.first, area.end, lambda address, size: os.pread(fd, size, address), overlap):
                for name, needle in needles.items():
                    for match in re.finditer(re.escape(needle), data):
                        found[name, start + match.start()] = area.name
    finally:
        os.close(fd)
    return sorted((Hit(name, address, area) for (name, address), area in found.items()), key=lambda hit: hit.address)
