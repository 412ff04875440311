"""The program that looks through the machine's physical memory, in a process of its own that ends with it.

It reads an order as JSON from standard input: needles, coded; and writes what it found to standard output.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from secalloc.attacks import Needle, kcore
from vm.guest.search import Search

__all__ = ["Found", "look"]


@dataclass(frozen=True)
class Found:
    """A needle or part of it: which, in which mapping of physical memory, where, and how many words of it."""

    needle: str
    kind: str
    physical: int
    words: int


@dataclass(frozen=True)
class Looked:
    """`read`: bytes looked at, and `segments`: how many, by kind of mapping."""

    found: list[Found]
    read: dict[str, int]
    segments: dict[str, int]

    def names(self) -> set[str]:
        return {each.needle for each in self.found}


def look(needles: Sequence[Needle]) -> Looked:
    """Have another process look for these."""
    order = json.dumps([asdict(needle) for needle in needles])
    done = subprocess.run(
        [sys.executable, "-P", "-m", __spec__.name], input=order, stdout=subprocess.PIPE, text=True, check=True
    )
    told = json.loads(done.stdout)
    return Looked([Found(*each) for each in told["found"]], told["read"], told["segments"])


def main() -> None:
    search = Search(Needle(**needle) for needle in json.load(sys.stdin))
    found: list[tuple[str, str, int, int]] = []
    read: dict[str, int] = {}
    count: dict[str, int] = {}
    fd = os.open(kcore.PATH, os.O_RDONLY)
    for segment in kcore.segments(fd):
        before = search.read
        for place in search.places(
            segment.size, lambda buffer, offset, start=segment.offset: os.preadv(fd, [buffer], start + offset)
        ):
            found.append((place.needle, segment.kind, segment.physical + place.at, place.words))
        read[segment.kind] = read.get(segment.kind, 0) + search.read - before
        count[segment.kind] = count.get(segment.kind, 0) + 1
    os.close(fd)
    json.dump({"found": found, "read": read, "segments": count}, sys.stdout)


if __name__ == "__main__":
    main()
