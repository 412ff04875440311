"""What of this process the kernel keeps in memory: secret pages, and those that mlock(2) locked."""
from __future__ import annotations

from typing import NamedTuple

__all__ = ["Range", "locked_bytes", "locked_ranges"]


class Range(NamedTuple):
    """Addresses of one locked mapping, and the bytes of it that have pages."""

    start: int
    end: int
    resident: int


def locked_ranges() -> list[Range]:
    """In the order of addresses. The kernel says of secret mappings too that they are locked."""
    ranges: list[Range] = []
    start = end = resident = 0
    with open("/proc/self/smaps") as lines:
        for line in lines:
            field, *words = line.split()
            if field == "Rss:":
                resident = int(words[0]) << 10
            elif field == "VmFlags:" and "lo" in words:
                ranges.append(Range(start, end, resident))
            elif not field.endswith(":"):
                start, end = (int(part, 16) for part in field.split("-"))
    return ranges


def locked_bytes() -> int:
    """What RLIMIT_MEMLOCK counts."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmLck:"))
