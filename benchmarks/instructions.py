"""Instructions, counted by valgrind: how much work a pair of alloc and free is, whatever else the machine does.

    python benchmarks/instructions.py            0: no count is above its ceiling; 1: one is, or nothing was counted
    python benchmarks/instructions.py --update   writes the ceilings anew: what is counted, and ROOM beyond

Counted are the loops `loop_pair` and `call_loop` of secalloc_ext/loops.h, by those names: ours, and in the same run
malloc + explicit_bzero, and bytearray. The ceilings are of our own count and of its ratio to theirs, for one version of
Python. valgrind knows no memfd_secret and no reservation of 1 TiB: pages are locked ordinary ones.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

CEILINGS = Path(__file__).with_name("instructions.json")
SIZES = (16, 32, 64, 128, 256, 512, 1024)
ROUNDS = 4096
ROOM = 1.08
COUNTED = ("loop_pair", "call_loop")  # of two names with a common beginning valgrind 3.19 counts one only
ENVIRONMENT = {"SECALLOC_BACKEND": "mlock", "SECALLOC_RESERVATION": "8GiB", "PYTHONHASHSEED": "0"}
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Count:
    """Instructions for one object, made, filled and freed."""

    what: str
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


def names() -> list[str]:
    """What is counted, in the order in which `work` does it."""
    return [*(f"alloc and free, {size} B" for size in SIZES), "SecureBytes(32)"]


def work() -> None:
    """Runs below valgrind: for each name a warm-up of ours and of theirs, and then each once more."""
    from secalloc import SecureBytes
    from secalloc.peers import Absent, find_peer
    from secalloc_ext.loops import call

    found = [find_peer(name) for name in ("secalloc", "malloc + explicit_bzero")]
    peers = [each.peer for each in found if not isinstance(each, Absent)]
    for size in SIZES:
        for peer in peers * 2:
            peer.pair(size, ROUNDS)
    for make in (SecureBytes, bytearray) * 2:
        call(make, 32, ROUNDS)


def counts_from(dumps: list[str]) -> list[Count]:
    """From callgrind's dumps, one for each loop: of four of a name, the last two count.

    Raises
    ------
    ValueError : there are not as many as there must be
    """
    totals = [int(found[1]) for dump in dumps if (found := re.search(r"^totals: (\d+)$", dump, re.M))]
    if len(totals) != 4 * len(names()) or 0 in totals:
        raise ValueError(f"of {4 * len(names())} loops {sum(map(bool, totals))} were counted")
    each = (totals[i + 2 : i + 4] for i in range(0, len(totals), 4))
    return [Count(name, ours / ROUNDS, theirs / ROUNDS) for name, (ours, theirs) in zip(names(), each, strict=True)]


def count() -> list[Count]:
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/dump", "--collect-atstart=no",
                   *(f"--{option}={name}" for name in COUNTED for option in ("toggle-collect", "dump-after")),
                   sys.executable, "-P", __file__, "--work"]  # fmt: skip
        done = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ValueError(done.stderr)
        dumps = Path(folder).glob("dump.*")  # `dump` itself is the rest, behind the last loop
        return counts_from([path.read_text() for path in sorted(dumps, key=lambda path: int(path.suffix[1:]))])


def ceilings_for(counts: list[Count]) -> dict[str, object]:
    """What --update writes."""
    figures = ({"instructions": round(one.ours * ROOM, 1), "ratio": round(one.ratio * ROOM, 3)} for one in counts)
    return {"python": PYTHON, "ceilings": dict(zip((one.what for one in counts), figures, strict=True))}


def faults(counts: list[Count], stored: dict[str, object]) -> list[str]:
    """What is above its ceiling, or has none."""
    if stored["python"] != PYTHON:
        return [f"the ceilings are for Python {stored['python']}, and this is {PYTHON}"]
    ceilings = stored["ceilings"]
    assert isinstance(ceilings, dict)
    found = [f"{one.what}: no ceiling; see --update" for one in counts if one.what not in ceilings]
    for one in counts:
        ceiling = ceilings.get(one.what, {})
        for figure, value in (("instructions", one.ours), ("ratio", one.ratio)):
            if value > ceiling.get(figure, value):
                found.append(f"{one.what}: {figure} {value:.2f}, above {ceiling[figure]:.2f}")
    return found


def main(arguments: list[str], file: Path = CEILINGS) -> int:
    try:
        counts = count()
    except ValueError as error:
        print(f"instructions: {error}", file=sys.stderr)
        return 1
    for one in counts:
        print(f"{one.what:24} {one.ours:8.1f} instructions, theirs {one.theirs:8.1f}, ratio {one.ratio:.3f}")
    if "--update" in arguments:
        file.write_text(json.dumps(ceilings_for(counts), indent=1) + "\n")
        return 0
    found = faults(counts, json.loads(file.read_text()))
    print("\n".join(found) or f"instructions: {len(counts)} counts, none above its ceiling")
    return 1 if found else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        work()
    else:
        sys.exit(main(sys.argv[1:]))
