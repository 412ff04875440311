"""The frames of the kernel image: which of the two mappings that the kernel has of them show anything."""
from __future__ import annotations

import os
from collections import Counter

from secalloc.attacks import kcore
from secalloc.attacks.calls import PAGE_BYTES

__all__ = ["compared"]


def compared() -> dict[str, int]:
    """The frames that the kernel image is in, by which of their two mappings show anything.

    What only the image shows was taken from the direct map; what only the direct map shows was taken from the image's
    mapping, as it should be where the kernel has freed it.
    """
    count = Counter[str]()
    fd = os.open(kcore.PATH, os.O_RDONLY)
    some = kcore.segments(fd)
    for image in some:
        for at in range(0, image.size if image.kind == kcore.IMAGE else 0, PAGE_BYTES):
            shown = kcore.read_at(fd, some, image.physical + at, min(PAGE_BYTES, image.size - at))
            count[", ".join(sorted(kind for kind, content in shown.items() if content.strip(b"\0"))) or "neither"] += 1
    os.close(fd)
    return dict(count)
