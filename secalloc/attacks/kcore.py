"""/proc/kcore: the kernel's memory as an ELF core file. Looked at are only the segments with a physical address.

Those are the direct map, where each page of RAM is, and the kernel image, a second mapping of some of them. A page that
is in neither, as secret ones should be, reads as zeros, not as an error. Segments without a physical address (vmalloc,
modules, the map of page structures) are terabytes of nothing, and alias what the direct map has.
See proc(5), and fs/proc/kcore.c of Linux.
"""
from __future__ import annotations

import os
import struct
from dataclasses import dataclass

__all__ = ["DIRECT", "IMAGE", "MAPPINGS", "NO_PHYSICAL", "PATH", "Segment", "read", "read_at", "segments"]

PATH = "/proc/kcore"
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr
PROGRAM = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr
PT_LOAD = 1
NO_PHYSICAL = (1 << 64) - 1
IMAGE_BASE = 0xFFFFFFFF80000000  # __START_KERNEL_map of x86-64: above it lies the kernel image
MAPPINGS = DIRECT, IMAGE = "direct map", "kernel image"


@dataclass(frozen=True)
class Segment:
    """`size` bytes at `offset` of the file are physical memory from `physical` on."""

    kind: str
    physical: int
    offset: int
    size: int

    def holds(self, physical: int, size: int = 1) -> bool:
        return self.physical <= physical and physical + size <= self.physical + self.size


def segments(fd: int) -> list[Segment]:
    """Those with a physical address.

    Raises
    ------
    ValueError : it is no core file of a 64-bit x86 machine
    """
    head = os.pread(fd, HEADER.size, 0)
    fields = HEADER.unpack(head)
    if head[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    start, size, count = fields[5], fields[9], fields[10]
    if size != PROGRAM.size:
        raise ValueError(f"program headers of {size} bytes")
    found: list[Segment] = []
    for i in range(count):
        kind, _, offset, virtual, physical, _, memory, _ = PROGRAM.unpack(os.pread(fd, size, start + i * size))
        if kind == PT_LOAD and physical != NO_PHYSICAL:
            found.append(Segment(IMAGE if virtual >= IMAGE_BASE else DIRECT, physical, offset, memory))
    return found


def read(fd: int, segment: Segment, physical: int, size: int) -> bytes:
    return os.pread(fd, size, segment.offset + physical - segment.physical)


def read_at(fd: int, some: list[Segment], physical: int, size: int) -> dict[str, bytes]:
    """What each mapping of a physical address shows, by the mapping's kind."""
    return {each.kind: read(fd, each, physical, size) for each in some if each.holds(physical)}
