"""What an object costs each peer, by its size and by how many live: the points of the plots.

All peers are measured in turn in each round; a point is the median of its rounds.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

from secalloc.measure import Sample
from secalloc.peers import Absent, Found
from secalloc_ext.loops import Stand

__all__ = ["Curves", "by_live", "by_size"]

SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
LIVES = (100, 1_000, 10_000, 100_000, 1_000_000)
LIVE_BYTES = 32
SLOW = {"libsodium": 500, "one memfd_secret each": 500, "OpenSSL secure heap": 20, "libgcrypt": 4}  # shorter rounds
# Who is asked for many objects; the others map pages for each.
POOLS = ("secalloc", "malloc + explicit_bzero", "OpenSSL secure heap", "libgcrypt")

MakeSample = Callable[[Found, int], Sample]  # of a peer at an x


@dataclass
class Curves:
    """`points`: by peer, pairs of x and nanoseconds; `left_out`: by peer, why there are no more."""

    name: str
    title: str
    x: str
    points: dict[str, list[tuple[int, float]]] = field(default_factory=dict[str, list[tuple[int, float]]])
    left_out: dict[str, str] = field(default_factory=dict[str, str])


def by_size(peers: list[Found | Absent], rounds: int, sizes: tuple[int, ...] = SIZES) -> Curves:
    curves = Curves("cost-by-size", "One object made, filled and freed", "bytes")

    def sample(found: Found, size: int) -> Sample:
        count = max(4, min(20_000, (8 << 20) // size) // SLOW.get(found.name, 1))
        return lambda: found.peer.pair(size, count) / count

    _measure(curves, peers, rounds, sizes, sample)
    return curves


def by_live(peers: list[Found | Absent], rounds: int, lives: tuple[int, ...] = LIVES) -> Curves:
    curves = Curves("cost-by-live", f"One of N live objects of {LIVE_BYTES} bytes replaced, scattered", "N")

    def sample(found: Found, live: int) -> Sample:
        if live > found.objects_max:
            raise MemoryError(f"not asked for more than {found.objects_max:,} live objects: it takes too long")
        stand = Stand(found.peer, LIVE_BYTES, live)
        stand.churn(1)
        turns = max(1, 20_000 // live)
        return lambda: stand.churn(turns) / turns / live

    _measure(curves, [peer for peer in peers if peer.name in POOLS], rounds, lives, sample)
    return curves


def _measure(
    curves: Curves, peers: list[Found | Absent], rounds: int, at: tuple[int, ...], sample: MakeSample
) -> None:
    curves.left_out.update((peer.name, peer.reason) for peer in peers if isinstance(peer, Absent))
    there = [peer for peer in peers if isinstance(peer, Found)]
    for x in at:
        samples = dict(_samples(curves, there, x, sample))
        turns = [{name: once() for name, once in samples.items()} for _ in range(rounds)]
        for name in samples:
            curves.points.setdefault(name, []).append((x, median(turn[name] for turn in turns)))


def _samples(
    curves: Curves, peers: list[Found], x: int, sample: MakeSample
) -> Iterator[tuple[str, Sample]]:
    """Those that can still take part at `x`; who could not at less is not asked again."""
    for peer in peers:
        if peer.name in curves.left_out:
            continue
        try:
            once = sample(peer, x)
            once()  # warms up
        except MemoryError as error:
            curves.left_out[peer.name] = f"none from {x:,} on: {error}"
        else:
            yield peer.name, once
