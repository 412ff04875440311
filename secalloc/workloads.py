"""What ordinary programs do, for the cost of the scope's hooks: a dozen small programs after those of pyperformance.

As a program it runs them as it is told: its argument is a mode, of `MODES`; for each line of standard input it runs
all of them once and writes how many nanoseconds each took, as JSON. Three of these, started together, are asked in
turns.
"""
from __future__ import annotations

import csv
import io
import json
import logging
import math
import pickle
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

__all__ = ["MODES", "WORKLOADS", "mean"]

MODES = ("plain", "hooks", "scope")
DOCUMENT = json.dumps([{"id": i, "name": f"user {i}", "tags": ["a", "b"], "x": i * 1.5} for i in range(100)])
RECORDS: list[dict[str, Any]] = json.loads(DOCUMENT)
TEXT = " ".join(f"word{i} 10.0.{i % 256}.{i % 7} user{i}@example.org" for i in range(300))
WORDS = TEXT.split()


class _Task:
    """As of Richards' operating system: small objects that hand each other packets."""

    def __init__(self, number: int, packets: list[tuple[int, int]]) -> None:
        self.number, self.packets, self.done = number, packets, 0

    def run(self, others: list[_Task]) -> None:
        while self.packets:
            number, left = self.packets.pop()
            self.done += number
            if left:
                others[(self.number + number) % len(others)].packets.append((number + 1, left - 1))


def _tasks() -> int:
    tasks: list[_Task] = []
    tasks += [_Task(i, [(i, 40), (i + 1, 30)]) for i in range(20)]
    while any(task.packets for task in tasks):
        for task in tasks:
            task.run(tasks)
    return sum(task.done for task in tasks)


def _bodies() -> float:
    places = [[i * 1.1, i * 0.7, i * 0.3] for i in range(8)]
    for _ in range(15):
        for a in places:
            for b in places:
                distance = math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) + 0.1)
                a[0] += (b[0] - a[0]) / distance * 0.01
    return places[0][0]


def _tree(depth: int) -> tuple[Any, Any] | None:
    return (_tree(depth - 1), _tree(depth - 1)) if depth else None


def _permutations(pool: list[int]) -> Iterator[list[int]]:
    if len(pool) <= 1:
        yield pool
        return
    for i in range(len(pool)):
        for rest in _permutations(pool[:i] + pool[i + 1 :]):
            yield [pool[i], *rest]


def _big_ints() -> int:
    modulus, power, total = 10**60 + 7, 3, 0
    for i in range(300):
        power = power * power % modulus
        total += power * i
    return total


def _log() -> int:
    stream = io.StringIO()
    logger = logging.Logger("workload")
    logger.addHandler(logging.StreamHandler(stream))
    for i in range(100):
        logger.warning("request %d of %s took %.3f ms", i, "user", i * 0.1)
    return len(stream.getvalue())


def _table() -> int:
    stream = io.StringIO()
    csv.writer(stream).writerows([[i, f"name {i}", i * 0.5] for i in range(200)])
    return sum(len(row) for row in csv.reader(io.StringIO(stream.getvalue())))


WORKLOADS: dict[str, Callable[[], object]] = {
    "json loads": lambda: json.loads(DOCUMENT),
    "json dumps": lambda: json.dumps(RECORDS),
    "pickle": lambda: pickle.loads(pickle.dumps(RECORDS)),
    "regular expressions": lambda: re.findall(r"[\w.]+@[\w.]+|\d+\.\d+\.\d+\.\d+", TEXT),
    "text": lambda: [word.upper().replace("A", "b").strip("0") + f"-{word}" for word in WORDS],
    "dicts": lambda: {word: [len(word), i] for i, word in enumerate(WORDS)},
    "counting": lambda: Counter(TEXT.split()).most_common(10),
    "objects": _tasks,
    "floats": _bodies,
    "trees": partial(_tree, 11),
    "generators": lambda: sum(len(each) for each in _permutations([1, 2, 3, 4, 5])),
    "big ints": _big_ints,
    "logging": _log,
    "csv": _table,
}  # fmt: skip


def mean(times: Mapping[str, float]) -> float:
    """The geometric mean of what each took."""
    return math.exp(sum(map(math.log, times.values())) / len(times))


def _once(work: Callable[[], object]) -> float:
    """The best of a few: what else the machine does adds, and never takes away."""
    best = math.inf
    for _ in range(5):
        since = time.perf_counter_ns()
        work()
        best = min(best, time.perf_counter_ns() - since)
    return best


def _main(mode: str) -> None:
    from secalloc import scope

    block = scope(numpy=False)
    if mode == "hooks":
        scope.install()
    elif mode == "scope":
        block.__enter__()
    for work in WORKLOADS.values():  # what is made once, and the first touches of pages
        work()
    for _ in sys.stdin:
        print(json.dumps({name: _once(work) for name, work in WORKLOADS.items()}), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1])
