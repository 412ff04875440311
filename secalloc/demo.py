"""`secalloc demo`: secrets in ordinary and in secret memory, attacked by another process.

A holder process (`secalloc.holder`) keeps them, an attacker process (`secalloc.attacks`) tries every attack, but for
those that are the holder's own. A round is one holder and all attacks on it: both processes as root, where this is
root, and both as one ordinary user.

An attack has passed if it found every ordinary copy that it can reach (without that its result means nothing) and no
secret one, while the holder had them all in place.
"""
from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from secalloc.attacks import ATTACKS, Outcome
from secalloc.rounds import Refused, Round

__all__ = ["Row", "report", "run", "verdict"]

ORDINARY_UID = 65534  # nobody
ALL = "all"
# What each attack must find, for its result on secret memory to mean anything.
COPIES = ("ordinary key", "ordinary password", "ordinary array")
EXPECTED = {
    "pidfd_getfd": ("shared memory", "open memfd_secret"),
    "/proc/PID/fd": ("shared memory",),
    "/proc/PID/map_files": ("shared memory",),
    "fork": (*COPIES, "open memfd_secret"),
    "exec": ("shared memory", "open memfd_secret"),
}


@dataclass(frozen=True)
class Row:
    """One attack of one attacker.

    `ordinary` and `secret` are the names of what it found, `missed` of what it should have found and did not. `skipped`
    says why it could not run, `failed` how it broke.
    """

    attacker: str
    attack: str
    description: str
    ordinary: list[str] = field(default_factory=list[str])
    secret: list[str] = field(default_factory=list[str])
    missed: list[str] = field(default_factory=list[str])
    skipped: str | None = None
    failed: str | None = None

    @property
    def passed(self) -> bool | None:
        """None for an attack that could not run."""
        if self.skipped is not None:
            return None
        return self.failed is None and not self.missed and not self.secret

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}


def run(attacker: str, uid: int | None = None, *, careless: bool = False) -> list[Row]:
    """One round. `uid`: the user that both processes become; None: they stay this one."""
    try:
        with Round(["-m", "secalloc.holder", "careless" if careless else ""], uid) as held:
            held.check_in_place()
            outcomes = held.attack([name for name, attack in ATTACKS.items() if not attack.fatal])
            held.check_in_place()
            outcomes += held.attack([name for name, attack in ATTACKS.items() if attack.fatal])
    except Refused as reason:
        return [_skipped(attacker, str(reason))]
    names = {needle.name for needle in held.target.needles}
    if not any(name.startswith("secret ") for name in names):  # finding none of none would pass
        return [_skipped(attacker, f"no {kind}: {why}") for kind, why in held.missing.items()]
    rows = [_row(attacker, outcome, names) for outcome in outcomes]
    return rows + [_skipped(attacker, f"no {kind}: {why}") for kind, why in held.missing.items()]


def _skipped(attacker: str, reason: str) -> Row:
    return Row(attacker, ALL, "all attacks", skipped=reason)


def _row(attacker: str, outcome: Outcome, held: set[str]) -> Row:
    ran = outcome.skipped is None and outcome.failed is None
    expected = [name for name in EXPECTED.get(outcome.attack, COPIES) if name in held]
    return Row(
        attacker,
        outcome.attack,
        ATTACKS[outcome.attack].description,
        ordinary=[name for name in outcome.found if not name.startswith("secret ")],
        secret=[name for name in outcome.found if name.startswith("secret ")],
        missed=[name for name in expected if name not in outcome.found] if ran else [],
        skipped=outcome.skipped,
        failed=outcome.failed,
    )


def report(*, careless: bool = False) -> list[Row]:
    """All rounds. `careless`: the holder leaks its secrets, and the verdict must be no; for tests of the demo.

    Raises
    ------
    RoundError : a process of the demo ended, or does not hold what it told
    """
    if os.geteuid() != 0:
        not_root = _skipped("root", f"started by user {os.geteuid()}: run it as root for these")
        return [not_root, *run("same user", careless=careless)]
    return run("root", careless=careless) + run("same user", ORDINARY_UID, careless=careless)


def verdict(rows: list[Row]) -> bool:
    """Whether every attack that could run found the ordinary copies and no secret one, and at least one could."""
    ran = [row for row in rows if row.passed is not None]
    return bool(ran) and all(row.passed for row in ran)
