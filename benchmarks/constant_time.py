"""Does the time of a comparison tell where two secrets differ? A t-test, as dudect does it.

    python benchmarks/constant_time.py [MEASUREMENTS]

Two classes of input, timed in random order: different from the secret in the first byte, and in the last. (Whether they
differ at all is what a comparison answers.) Both are made of one buffer, by the same two writes, so that no address and
no cache line is that of a class. Welch's t over the times, and over those below each of a hundred percentiles, as the
slowest are the machine's own; the largest |t| counts, and of five secrets the median, as a process may by chance of its
addresses favour one class. Above 10, dudect's threshold for so many tests, they can be told apart. Exits with 0 if
that is so for every control, comparisons that end at the first difference, and for none of ours.

Source: O. Reparaz, J. Balasch, I. Verbauwhede, "Dude, is my code constant time?", DATE 2017.
"""
from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from secalloc import SecureBytes

TOLD_APART = 10
SECRETS = 5
Compare = Callable[[bytearray], object]


def welch(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Welch's t of two samples, of any sizes of two or more; 0 where neither varies."""
    variance = a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)
    return float((a.mean() - b.mean()) / np.sqrt(variance)) if variance else 0.0


def largest_t(times: NDArray[np.float64], classes: NDArray[np.int8]) -> float:
    """The largest |t| of all times and of those below each percentile.

    Parameters
    ----------
    times, classes : of one measurement each; classes 0 and 1
    """
    found = [0.0]
    for limit in (*np.percentile(times, np.arange(1, 101)), np.inf):
        kept = times <= limit
        a, b = times[kept & (classes == 0)], times[kept & (classes == 1)]
        if min(len(a), len(b)) > 100:
            found.append(abs(welch(a, b)))
    return max(found)


def measure(compare: Compare, secret: bytes, count: int) -> float:
    """The largest |t| of `count` measurements of a comparison with the secret."""
    buffer = bytearray(secret)
    ends = ((secret[0] ^ 1, secret[-1]), (secret[0], secret[-1] ^ 1))
    classes = np.array([random.getrandbits(1) for _ in range(count)], np.int8)
    times = np.empty(count)
    for i, each in enumerate(classes.tolist()):
        buffer[0], buffer[-1] = ends[each]
        since = perf_counter_ns()
        compare(buffer)
        times[i] = perf_counter_ns() - since
    return largest_t(times[count // 10 :], classes[count // 10 :])


def byte_by_byte(secret: bytes) -> Compare:
    return lambda other: all(a == b for a, b in zip(secret, other, strict=True))


# By name: what makes a comparison with a secret, at which size, and whether its time may tell.
CASES: dict[str, tuple[Callable[[bytes], Compare], int, bool]] = {
    "SecureBytes ==, 32 bytes": (lambda secret: SecureBytes(secret).__eq__, 32, False),
    "SecureBytes ==, 4096 bytes": (lambda secret: SecureBytes(secret).__eq__, 4096, False),
    "control: byte by byte, 32 bytes": (byte_by_byte, 32, True),
    "control: bytearray ==, 4096 bytes": (lambda secret: bytearray(secret).__eq__, 4096, True),
}


def main(count: int = 300_000) -> int:
    good = True
    for name, (make, size, may_tell) in CASES.items():
        secrets = [os.urandom(size) for _ in range(SECRETS)]
        found = sorted(measure(make(secret), secret, count // SECRETS) for secret in secrets)
        told = found[SECRETS // 2] > TOLD_APART
        good &= told == may_tell
        print(f"{name:34} |t| {' '.join(f'{t:.1f}' for t in found):40} {'told apart' if told else 'not told apart'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
