"""Step i: nearly all memory filled with marked pages, once ordinary and once secret, and how many of them are seen.

Pages that the kernel freed from inside its image once it had booted, and gave to others since, have two mappings: the
direct map, and the kernel image's own. memfd_secret(2) takes a page out of the first only. The ordinary pages are those
of pipes, which the kernel takes from where it takes secret ones, its unmovable memory: those freed pages among it.
"""
from __future__ import annotations

import fcntl
import json
import mmap
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from secalloc import Heap, SecureBytes
from secalloc.attacks import Needle, kcore
from secalloc.holder import address_of, needle_of
from vm.guest.imageframes import compared
from vm.guest.lookthrough import look
from vm.guest.swap import available
from vm.guest.telling import Teller

__all__ = ["KINDS", "step"]

PART_BYTES = 1 << 20
LEFT_BYTES = 48 << 20  # of memory, for the program that looks and the kernel
MARKER_BYTES = 64

_heap = Heap("fill")


def ordinary_part(page: memoryview) -> tuple[Any, int]:
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PART_BYTES)
    os.set_blocking(ends[1], False)
    pages = 0
    try:
        while True:
            pages += os.write(ends[1], page) // mmap.PAGESIZE
    except BlockingIOError:
        return ends, pages


def secret_part(page: memoryview) -> tuple[Any, int]:
    """With a marker at the start of each whole page of it."""
    part = SecureBytes(PART_BYTES, heap=_heap)
    view, pages = memoryview(part), 0
    for at in range(-address_of(part) % mmap.PAGESIZE, PART_BYTES - MARKER_BYTES, mmap.PAGESIZE):
        view[at : at + MARKER_BYTES] = page[:MARKER_BYTES]  # from page to page, and nowhere else
        pages += 1
    return part, pages


KINDS: dict[str, Callable[[memoryview], tuple[Any, int]]] = {"ordinary": ordinary_part, "secret": secret_part}


def fill(kind: str) -> None:
    """The program that fills; of its marker nothing is in memory of the other kind."""
    Path("/proc/self/oom_score_adj").write_text("-1000")
    page: Any = SecureBytes.random(mmap.PAGESIZE) if kind == "secret" else bytearray(os.urandom(mmap.PAGESIZE))
    parts: list[Any] = []
    filled = 0
    while available() > LEFT_BYTES:
        part, pages = KINDS[kind](memoryview(page))
        parts.append(part)
        filled += pages
    needle = needle_of(kind, memoryview(page)[:MARKER_BYTES], 0)
    print(json.dumps({"pages": filled, "needle": asdict(needle)}), flush=True)
    sys.stdin.readline()


def _total() -> int:
    return os.sysconf("SC_PHYS_PAGES")


def tell_filled(teller: Teller, kind: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", f"from vm.guest.fill import fill; fill({kind!r})"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise RuntimeError(f"the program that fills memory ended with {child.wait()}")
        told = json.loads(line)
        looked = look([Needle(**told["needle"])])
        differing = compared()
        child.kill()
    places = {mapping: {each.physical for each in looked.found if each.kind == mapping} for mapping in kcore.MAPPINGS}
    teller.measured(f"filled with {kind} pages", {
        "pages": told["pages"], "of": _total(), "seen in the direct map": len(places[kcore.DIRECT]),
        "seen in the kernel image": len(places[kcore.IMAGE]),
        "seen in the kernel image only": len(places[kcore.IMAGE] - places[kcore.DIRECT]),
        "ranges": _ranges(places[kcore.IMAGE]), "frames of the image": differing,
    })  # fmt: skip


def _ranges(places: set[int]) -> dict[str, int]:
    """How many pages in each 2 MiB of physical memory."""
    return {f"{start:#x}": n for start, n in sorted(Counter(place >> 21 << 21 for place in places).items())}


def step(teller: Teller) -> None:
    for kind in KINDS:
        tell_filled(teller, kind)
