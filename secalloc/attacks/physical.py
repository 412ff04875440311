"""The kernel's own view: where a page lies in physical memory, and what the kernel's mappings of it show there.

`/proc/PID/pagemap` tells the frame of each page; `/proc/kcore` shows it. Needs root.
"""
from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

from secalloc.attacks import kcore
from secalloc.attacks.calls import PAGE_BYTES
from secalloc.attacks.targets import CannotRun, Needle, Target

__all__ = ["Place", "physical_memory", "place_of"]

PRESENT, SWAPPED, FRAME = 1 << 63, 1 << 62, (1 << 55) - 1  # of an entry of pagemap


class Place(NamedTuple):
    """Where a byte of a process is: its physical address; None where its page is in swap or nowhere."""

    physical: int | None
    swapped: bool = False


def place_of(pagemap: int, address: int) -> Place:
    """By the process's open `pagemap`; see proc(5)."""
    entry, = struct.unpack("=Q", os.pread(pagemap, 8, address // PAGE_BYTES * 8))
    if not entry & PRESENT:
        return Place(None, bool(entry & SWAPPED))
    if not entry & FRAME:
        raise CannotRun("needs CAP_SYS_ADMIN")
    return Place((entry & FRAME) * PAGE_BYTES + address % PAGE_BYTES)


def _pieces(pagemap: int, needle: Needle) -> Iterator[tuple[int, int]]:
    """Physical address and size of the parts of a needle, one a page."""
    address, end = needle.address, needle.address + needle.size
    while address < end:
        size = min(end, (address | PAGE_BYTES - 1) + 1) - address
        physical = place_of(pagemap, address).physical
        if physical is not None:
            yield physical, size
        address += size


def physical_memory(target: Target) -> set[str]:
    """Read each needle at its physical address, in every segment that has it."""
    found: set[str] = set()
    with ExitStack() as stack:
        pagemap = os.open(f"/proc/{target.pid}/pagemap", os.O_RDONLY)
        stack.callback(os.close, pagemap)
        try:
            core = os.open(kcore.PATH, os.O_RDONLY)
        except FileNotFoundError:
            raise CannotRun("the kernel has no /proc/kcore") from None
        stack.callback(os.close, core)
        segments = kcore.segments(core)
        for needle in target.needles:
            pieces = list(_pieces(pagemap, needle))
            if any(needle.is_at(data) for data in _views(core, segments, pieces)):
                found.add(needle.name)
    return found


def _views(core: int, segments: list[kcore.Segment], pieces: list[tuple[int, int]]) -> Iterator[bytes]:
    """What each segment shows of these pieces, one after the other."""
    for segment in segments:
        yield b"".join(kcore.read(core, segment, *piece) for piece in pieces if segment.holds(*piece))
