"""`secalloc demo`: secrets in ordinary and in secret memory, attacked by another process.

A holder process (`secalloc.holder`) keeps them, an attacker process (`secalloc.attacks`) tries every attack. A round is
one holder and all attacks on it: both processes as root, where this is root, and both as one ordinary user.

An attack has passed if it found every ordinary copy that it can reach (without that its result means nothing) and no
secret one, while the holder had them all in place.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from typing import Any

from secalloc.attacks import ATTACKS, Outcome

__all__ = ["DemoError", "Row", "report", "run", "verdict"]

ORDINARY_UID = 65534  # nobody
ALL = "all"
# What each attack must find, for its result on secret memory to mean anything.
COPIES = ("ordinary key", "ordinary password", "ordinary array")
EXPECTED = {
    "pidfd_getfd": ("shared memory", "open memfd_secret"),
    "/proc/PID/map_files": ("shared memory",),
}


class DemoError(Exception):
    """The demo itself did not work: nothing can be said about the attacks."""


@dataclass(frozen=True)
class Row:
    """One attack of one attacker.

    `ordinary` and `secret` are the names of what it found, `missed` of what it should have found and did not. `skipped`
    says why it could not run, `failed` how it broke.
    """

    attacker: str
    attack: str
    description: str
    ordinary: list[str] = field(default_factory=list)
    secret: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
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


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", module, *arguments]


def run(attacker: str, uid: int | None = None, *, careless: bool = False) -> list[Row]:
    """One round. `uid`: the user that both processes become; None: they stay this one."""
    with tempfile.TemporaryDirectory(prefix="secalloc-demo-") as folder:
        try:
            if uid is not None:
                os.chown(folder, uid, uid)
        except OSError as error:
            return [_skipped(attacker, f"no folder can be given to user {uid}: {error.strerror}")]
        return _Round(attacker, uid, folder).run(careless)


class _Round:
    """The processes of one round. `folder`: where both work, and dumps go; it belongs to their user."""

    def __init__(self, attacker: str, uid: int | None, folder: str) -> None:
        self.attacker, self.folder = attacker, folder
        self.user = [] if uid is None else [str(uid)]
        self.environment = os.environ | {"TMPDIR": folder}

    def run(self, careless: bool) -> list[Row]:
        with subprocess.Popen(
            _python("secalloc.holder", *(self.user or [""]), "careless" if careless else ""),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self.folder, env=self.environment,
        ) as holder:  # fmt: skip
            told = json.loads(_asked(holder, None))
            if "refused" in told:
                return [_skipped(self.attacker, told["refused"])]
            held = {needle["name"] for needle in told["target"]["needles"]}
            # A needle that is not where the holder says was never there, or is gone: not finding it proves nothing.
            in_place = json.loads(_asked(holder, "before"))
            outcomes = self._attack(told["target"], fatal=False)
            in_place_after = json.loads(_asked(holder, "after"))
            if not held == set(in_place) == set(in_place_after):
                raise DemoError("the holder does not have in memory what it told")
            outcomes += self._attack(told["target"], fatal=True)
            assert holder.stdin is not None
            holder.stdin.close()
        rows = [_row(self.attacker, outcome, held) for outcome in outcomes]
        return rows + [_skipped(self.attacker, f"no {kind}: {why}") for kind, why in told["missing"].items()]

    def _attack(self, target: dict[str, Any], *, fatal: bool) -> list[Outcome]:
        order = {"target": target, "attacks": [name for name, attack in ATTACKS.items() if attack.fatal == fatal]}
        attacker = subprocess.run(
            _python("secalloc.attacks", *self.user), input=json.dumps(order),
            stdout=subprocess.PIPE, text=True, cwd=self.folder, env=self.environment, check=False,
        )  # fmt: skip
        if attacker.returncode != 0:
            raise DemoError(f"the attacking process ended with {attacker.returncode}")
        return [Outcome(**outcome) for outcome in json.loads(attacker.stdout)]


def _asked(holder: subprocess.Popen[str], question: str | None) -> str:
    """The next line that the holder says."""
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        if question is not None:
            holder.stdin.write(question + "\n")
            holder.stdin.flush()
        answer = holder.stdout.readline()
    except BrokenPipeError:
        answer = ""
    if not answer:
        raise DemoError(f"the process that was to hold the secrets ended with {holder.wait()}")
    return answer


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
    DemoError : a process of the demo ended or lied
    """
    if os.geteuid() != 0:
        not_root = _skipped("root", f"started by user {os.geteuid()}: run it as root for these")
        return [not_root, *run("same user", careless=careless)]
    return run("root", careless=careless) + run("same user", ORDINARY_UID, careless=careless)


def verdict(rows: list[Row]) -> bool:
    """Whether every attack that could run found the ordinary copies and no secret one, and at least one could."""
    ran = [row for row in rows if row.passed is not None]
    return bool(ran) and all(row.passed for row in ran)
