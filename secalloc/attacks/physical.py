"""The kernel's own view: where a page lies in physical memory, and what the kernel's direct map shows there.

`/proc/PID/pagemap` tells the frame of each page; `/proc/kcore` is the kernel's memory as an ELF core file, whose
segments tell the physical address that they show. Where the kernel has nothing mapped, it reads as zeros. Needs root.
"""
from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

from secalloc.attacks.calls import PAGE_BYTES
from secalloc.attacks.targets import CannotRun, Needle, Target

__all__ = ["Segment", "physical_memory", "segments"]

PT_LOAD = 1
PRESENT, FRAME = 1 << 63, (1 << 55) - 1
HEADER, SEGMENT = struct.Struct("=32xQ14xHH"), struct.Struct("=IIQQQQQQ")
UNKNOWN = (1 << 64) - 1  # the physical address of what is not mapped one to one


class Segment(NamedTuple):
    """A stretch of physical memory, and where it is in the file."""

    physical: int
    offset: int
    size: int
    virtual: int


def segments(fd: int) -> list[Segment]:
    """Those that show physical memory: the direct map, and the kernel's image."""
    at, entry_bytes, count = HEADER.unpack(os.pread(fd, HEADER.size, 0))
    table = os.pread(fd, entry_bytes * count, at)
    found: list[Segment] = []
    for i in range(count):
        kind, _, offset, virtual, physical, size, _, _ = SEGMENT.unpack_from(table, i * entry_bytes)
        if kind == PT_LOAD and physical != UNKNOWN:
            found.append(Segment(physical, offset, size, virtual))
    return found


def _pieces(pagemap: int, needle: Needle) -> Iterator[tuple[int, int]]:
    """Physical address and size of the parts of a needle, one a page."""
    address, end = needle.address, needle.address + needle.size
    while address < end:
        size = min(end, (address | PAGE_BYTES - 1) + 1) - address
        entry, = struct.unpack("=Q", os.pread(pagemap, 8, address // PAGE_BYTES * 8))
        if entry & PRESENT:
            if not entry & FRAME:
                raise CannotRun("needs CAP_SYS_ADMIN")
            yield (entry & FRAME) * PAGE_BYTES + address % PAGE_BYTES, size
        address += size


def physical_memory(target: Target) -> set[str]:
    """Read each needle at its physical address, in every segment that has it."""
    found: set[str] = set()
    with ExitStack() as stack:
        pagemap = os.open(f"/proc/{target.pid}/pagemap", os.O_RDONLY)
        stack.callback(os.close, pagemap)
        try:
            kcore = os.open("/proc/kcore", os.O_RDONLY)
        except FileNotFoundError:
            raise CannotRun("the kernel has no /proc/kcore") from None
        stack.callback(os.close, kcore)
        for needle in target.needles:
            pieces = list(_pieces(pagemap, needle))
            if any(needle.is_at(data) for data in _views(kcore, pieces)):
                found.add(needle.name)
    return found


def _views(kcore: int, pieces: list[tuple[int, int]]) -> Iterator[bytes]:
    """What each segment shows of these pieces, one after the other."""
    for segment in segments(kcore):
        yield b"".join(
            os.pread(kcore, size, segment.offset + physical - segment.physical)
            for physical, size in pieces
            if segment.physical <= physical and physical + size <= segment.physical + segment.size
        )
