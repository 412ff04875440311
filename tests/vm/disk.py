"""The guest's disk, as the host has it: a sparse file, the swap area and the place of the hibernated memory.

Looked through when the machine is off. The kernel wipes nothing of it, so whatever was written to it is found.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from secalloc.attacks import Needle
from vm.guest.search import Search

__all__ = ["BYTES", "Looked", "look", "make"]

BYTES = 1 << 30
BLOCK_BYTES = 4096


@dataclass(frozen=True)
class Looked:
    """`found`: names of needles; `read`: bytes that the guest had written."""

    found: set[str]
    read: int


def make(path: Path) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(BYTES)


def _written(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """First byte, and byte behind, of each part that is not a hole."""
    end = 0
    while end < size:
        try:
            first = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole from there on
            return
        end = os.lseek(fd, first, os.SEEK_HOLE)
        yield first // BLOCK_BYTES * BLOCK_BYTES, end


def look(path: Path, needles: Iterable[Needle], library: Path) -> Looked:
    """`library`: see `vm.guest.search.compile_library`."""
    search, found = Search(needles, library), set[str]()
    fd = os.open(path, os.O_RDONLY)
    try:
        for first, end in _written(fd, path.stat().st_size):
            places = search.places(
                end - first, lambda buffer, offset, start=first: os.preadv(fd, [buffer], start + offset)  # type: ignore[misc]
            )
            found |= {place.needle for place in places}
    finally:
        os.close(fd)
    return Looked(found, search.read)
