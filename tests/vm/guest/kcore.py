"""/proc/kcore: the kernel's memory as a core file, of which only the segments with a physical address are looked at.

Those are the direct map, where each page of RAM is, and the kernel image, a second mapping of some of them. A page that
is in neither, as secret ones should be, reads as zeros, not as an error. Segments without a physical address (vmalloc,
modules, the map of page structures) are terabytes of nothing, and alias what the direct map has.
See proc(5), and fs/proc/kcore.c of Linux.
"""
from __future__ import annotations

import os
import struct
from collections import Counter
from dataclasses import dataclass

__all__ = ["DIRECT", "IMAGE", "MAPPINGS", "PATH", "Segment", "compared", "read_at", "segments"]

PATH = "/proc/kcore"
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr
PROGRAM = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr
PT_LOAD = 1
FRAME = 4096  # bytes
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

    def holds(self, physical: int) -> bool:
        return self.physical <= physical < self.physical + self.size


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
    found = []
    for i in range(count):
        kind, _, offset, virtual, physical, _, memory, _ = PROGRAM.unpack(os.pread(fd, size, start + i * size))
        if kind == PT_LOAD and physical != NO_PHYSICAL:
            found.append(Segment(IMAGE if virtual >= IMAGE_BASE else DIRECT, physical, offset, memory))
    return found


def read_at(fd: int, some: list[Segment], physical: int, size: int) -> dict[str, bytes]:
    """What each mapping of a physical address shows, by the mapping's kind."""
    return {
        each.kind: os.pread(fd, size, each.offset + physical - each.physical) for each in some if each.holds(physical)
    }


def compared() -> dict[str, int]:
    """The frames that the kernel image is in, by which of their two mappings show anything.

    What only the image shows was taken from the direct map; what only the direct map shows was taken from the image's
    mapping, as it should be where the kernel has freed it.
    """
    count = Counter[str]()
    fd = os.open(PATH, os.O_RDONLY)
    some = segments(fd)
    for image in some:
        for at in range(0, image.size if image.kind == IMAGE else 0, FRAME):
            shown = read_at(fd, some, image.physical + at, min(FRAME, image.size - at))
            count[", ".join(sorted(kind for kind, content in shown.items() if content.strip(b"\0"))) or "neither"] += 1
    os.close(fd)
    return dict(count)
