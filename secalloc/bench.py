"""`secalloc bench`: all that is measured in one run, what came of it, and the verdict.

A run is a list of steps, so that a caller can tell how far it is. What a step found goes into a `Report`.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from secalloc import density
from secalloc.curves import LIVES, Curves, by_live, by_size
from secalloc.density import Density
from secalloc.machine import describe
from secalloc.measure import Measured
from secalloc.peers import Absent, Found, find_peers
from secalloc.pypeers import PythonPeer, find_python_peers
from secalloc.rows import Row, rows

__all__ = ["FULL", "QUICK", "Effort", "Report", "Result", "Step", "measure", "steps", "verdict"]


@dataclass(frozen=True)
class Effort:
    """`rounds`: of each row and each point. `memlock`: the limit that secrets are counted within."""

    rounds: int
    lives: tuple[int, ...]
    memlock: int


FULL = Effort(15, LIVES, 8 << 20)
QUICK = Effort(2, LIVES[:3], 256 << 10)


@dataclass(frozen=True)
class Result:
    """A row that was measured, or was skipped, or failed (`failed`: how)."""

    row: Row
    measured: Measured | None = None
    failed: str | None = None

    @property
    def verdict(self) -> str:
        """"skipped", "failed", "missed"; "must" if no more than that is reached, or "target"."""
        if self.measured is None:
            return "failed" if self.failed else "skipped"
        for word, goal in (("target", self.row.target), ("must", self.row.must)):
            ratio = self.measured.ratio
            if ratio >= goal if self.row.more_is_better else ratio <= goal:
                return word
        return "missed"

    def as_json(self) -> dict[str, Any]:
        told = {key: value for key, value in asdict(self.row).items() if key not in ("measure", "skipped")}
        if self.measured is not None:
            told |= asdict(self.measured)
        told["verdict"] = self.verdict
        reason = self.failed or self.row.skipped
        return told | ({"reason": reason} if reason else {})


def verdict(results: list[Result]) -> bool:
    """Whether no row missed what it must reach. What could not be compared does not count."""
    return not any(result.verdict in ("missed", "failed") for result in results)


@dataclass
class Report:
    effort: Effort
    machine: dict[str, str] = field(default_factory=describe)
    peers: list[Found | PythonPeer | Absent] = field(default_factory=list[Found | PythonPeer | Absent])
    results: list[Result] = field(default_factory=list[Result])
    curves: list[Curves] = field(default_factory=list[Curves])
    densities: list[Density | Absent] = field(default_factory=list[Density | Absent])

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "effort": asdict(self.effort),
            "peers": [_peer_as_json(peer) for peer in self.peers],
            "rows": [result.as_json() for result in self.results],
            "curves": [asdict(curves) for curves in self.curves],
            "secrets": [asdict(each) for each in self.densities],
        }


def _peer_as_json(peer: Found | PythonPeer | Absent) -> dict[str, str]:
    if isinstance(peer, Absent):
        return {"name": peer.name, "absent": peer.reason}
    return {"name": peer.name, "version": peer.version, "path": peer.path}


@dataclass(frozen=True)
class Step:
    name: str
    run: Callable[[], None]


def steps(report: Report, only: str = "") -> list[Step]:
    """What there is to do, each step putting its result into the report; those whose name has `only` in it.

    Parameters
    ----------
    only : a regular expression, in either case
    """
    report.peers = [*find_peers(), *find_python_peers()]
    return [step for step in _steps(report) if re.search(only, step.name, re.IGNORECASE)]


def _steps(report: Report) -> Iterator[Step]:
    effort = report.effort
    peers = find_peers()
    for row in rows():
        yield _step(f"{row.name}, against {row.against}", report.results, measure, row, effort.rounds)
    yield _step("curve: cost by size", report.curves, by_size, peers, effort.rounds)
    yield _step("curve: cost by live objects", report.curves, by_live, peers, effort.rounds, effort.lives)
    for name in density.CONTESTANTS:
        yield _step(f"secrets within memlock: {name}", report.densities, density.measure, name, effort.memlock)


def _step(name: str, results: list[Any], work: Callable[..., Any], *arguments: Any) -> Step:
    return Step(name, lambda: results.append(work(*arguments)))


def measure(row: Row, rounds: int) -> Result:
    """A row that breaks is a result too: the run goes on, and the verdict is no."""
    if row.measure is None:
        return Result(row)
    try:
        return Result(row, row.measure(rounds))
    except (MemoryError, OSError) as error:
        return Result(row, failed=f"{type(error).__name__}: {error}")
