"""One thing's cost beside another's: rounds of both in turn, so that what slows the machine down slows both."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles

__all__ = ["Measured", "Sample", "compare"]

Sample = Callable[[], float]


@dataclass(frozen=True)
class Measured:
    """Medians over the rounds; `low` and `high` are the quartiles of the ratio of each round."""

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float


def compare(ours: Sample, theirs: Sample, rounds: int) -> Measured:
    """Run both once to warm up, then `rounds` times in turn.

    Parameters
    ----------
    ours, theirs : each answers what one operation cost, in whatever unit
    rounds : 2 or more
    """
    ours()
    theirs()
    pairs: list[tuple[float, float]] = []
    for turn in range(rounds):
        if turn % 2:  # whoever comes second finds warmer caches
            second = theirs()
            pairs.append((ours(), second))
        else:
            first = ours()
            pairs.append((first, theirs()))
    ratios = [first / second for first, second in pairs]
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return Measured(median(o for o, _ in pairs), median(t for _, t in pairs), median(ratios), low, high)
