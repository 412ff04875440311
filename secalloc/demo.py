"""`secalloc demo`: secrets in ordinary and in secret memory, attacked by another process.

A holder process (`secalloc.holder`) keeps them, an attacker process (`secalloc.attacks`) tries every attack; both run
as the present user and, where that is root, once more as an ordinary one.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass

__all__ = ["Row", "report", "run", "verdict"]

ORDINARY_UID = 65534  # nobody
# What each attack must find, for its result on secret memory to mean anything.
COPIES = ("ordinary key", "ordinary password", "ordinary array")
EXPECTED = {
    "pidfd_getfd": ("shared memory", "open memfd_secret"),
    "/proc/PID/map_files": ("shared memory",),
}


@dataclass
class Row:
    """One attack: what it found of each, or why it could not run. `passed` is None where it could not."""

    attacker: str
    attack: str
    ordinary: list[str]
    secret: list[str]
    missed: list[str]
    skipped: str | None

    @property
    def passed(self) -> bool | None:
        return None if self.skipped is not None else not self.missed and not self.secret


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", module, *arguments]


def run(attacker: str, uid: int | None = None, *, careless: bool = False) -> list[Row]:
    """One round: a holder, all attacks on it. `uid`: the user that both become; None: they stay this one."""
    user = "" if uid is None else str(uid)
    with tempfile.TemporaryDirectory() as folder:
        if uid is not None:
            os.chown(folder, uid, uid)
        environment = os.environ | {"TMPDIR": folder}
        with subprocess.Popen(
            _python("secalloc.holder", user, "careless" if careless else ""),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment,
        ) as holder:  # fmt: skip
            assert holder.stdin
            assert holder.stdout
            told = holder.stdout.readline()
            if not told:
                raise RuntimeError("the process that was to hold the secrets ended; its message is above")
            made = subprocess.run(
                _python("secalloc.attacks", *filter(None, [user])),
                input=told, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment, check=True,
            )  # fmt: skip
            holder.stdin.close()
    held = {needle["name"] for needle in json.loads(told)["needles"]}
    rows = [_row(attacker, outcome, held) for outcome in json.loads(made.stdout)]
    if "ordinary array" not in held:
        rows.append(Row(attacker, "all, on arrays", [], [], [], "numpy is not installed"))
    return rows


def _row(attacker: str, outcome: dict[str, list[str] | str | None], held: set[str]) -> Row:
    found = outcome["found"]
    assert isinstance(found, list)
    expected = [name for name in EXPECTED.get(str(outcome["attack"]), COPIES) if name in held]
    skipped = outcome["skipped"]
    return Row(
        attacker,
        str(outcome["attack"]),
        [name for name in found if not name.startswith("secret ")],
        [name for name in found if name.startswith("secret ")],
        [] if skipped else [name for name in expected if name not in found],
        None if skipped is None else str(skipped),
    )


def report(*, careless: bool = False) -> list[Row]:
    """All rounds: as this user and, from root, as an ordinary user too."""
    if os.geteuid() != 0:
        return run("same user", careless=careless)
    return run("root", careless=careless) + run("same user", ORDINARY_UID, careless=careless)


def verdict(rows: list[Row]) -> bool:
    """Whether every attack that could run found the ordinary copies and no secret one, and at least one could."""
    ran = [row for row in rows if row.passed is not None]
    return bool(ran) and all(row.passed for row in ran)
