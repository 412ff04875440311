"""What the process takes of the machine, and whether that grows."""
from typing import NamedTuple

from support import maps


class Footprint(NamedTuple):
    """Bytes and counts."""

    committed: int  # secret pages of the heaps that were asked
    mappings: int
    descriptors: int
    space: int
    resident: int


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * maps.PAGE_BYTES


def footprint(*heaps):
    return Footprint(sum(heap.stats().committed for heap in heaps), maps.mapping_count(), len(maps.descriptors()),
                     maps.address_space(), resident())  # fmt: skip


def growth(work, *heaps, warm_up, rounds):
    """Call ``work(i)`` for so many rounds; by how much each figure rose above its highest in the first `warm_up`."""
    seen = []
    for i in range(warm_up + rounds):
        work(i)
        seen.append(footprint(*heaps))
    before, after = (map(max, zip(*part, strict=True)) for part in (seen[:warm_up], seen[warm_up:]))
    return Footprint(*(high - low for high, low in zip(after, before, strict=True)))
