"""A round: a holder process, an attacker process, and the pipes by which the one that started both talks to them.

Used by `secalloc demo` and by the tests of each attack, which bring holders of their own. A holder is a Python program
that ends in `secalloc.holder.serve`; the attacker is `secalloc.attacks`. Both work in a folder that belongs to their
user, where dumps go too, and which is gone after the round. What is told on the pipes is coded (`attacks.Needle`), and
nothing of it is ever in an argument or in the environment.
"""
from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import groupby
from types import TracebackType
from typing import Any, Self

from secalloc.attacks import ATTACKS, Order, Outcome, Target

__all__ = ["Refused", "Round", "RoundError"]


class RoundError(Exception):
    """The round itself did not work: nothing can be said about the attacks."""


class Refused(Exception):
    """The round cannot be held as this user; the message says why."""


class Round:
    """A holder that runs from `with` to its end.

    Parameters
    ----------
    holder : what follows the interpreter on the holder's command line; the user id, or "", comes behind it
    uid : the user that both processes become; None: they stay this one
    attacker : another user for the attacker

    Attributes
    ----------
    target : what the attacker is told
    missing : kinds of secret that the holder could not make, and why
    """

    target: Target
    missing: dict[str, str]

    def __init__(self, holder: Sequence[str], uid: int | None = None, *, attacker: int | None = None) -> None:
        self._holder, self._uid, self._attacker, self._stack = holder, uid, attacker, ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # undoes what is done so far, should the rest fail
            self._folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="secalloc-"))
            user = "" if self._uid is None else str(self._uid)
            if self._uid is not None:
                try:
                    os.chown(self._folder, self._uid, self._uid)
                except OSError as error:
                    raise Refused(f"no folder can be given to user {user}: {error.strerror}") from error
            self._environment = os.environ | {"TMPDIR": self._folder}
            self._process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-P", *self._holder, user], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    text=True, cwd=self._folder, env=self._environment,
                )
            )  # fmt: skip
            told = self._answer()
            if "refused" in told:
                raise Refused(told["refused"])
            self.target, self.missing = Target.from_json(told["target"]), told["missing"]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()  # closes the holder's input, which ends it

    def attack(self, attacks: Sequence[str]) -> list[Outcome]:
        """Try these, in this order: the holder the ones from inside, one attacker process all others."""
        outcomes: list[Outcome] = []
        for inside, some in groupby(attacks, key=lambda name: ATTACKS[name].inside):
            order = Order(self.target, list(some)).to_json()
            told = self._ask(order) if inside else self._send_attacker(order)
            outcomes += [Outcome(**outcome) for outcome in told]
        return outcomes

    def _send_attacker(self, order: str) -> Any:
        uid = self._uid if self._attacker is None else self._attacker
        made = subprocess.run(
            [sys.executable, "-P", "-m", "secalloc.attacks", *([] if uid is None else [str(uid)])],
            input=order, stdout=subprocess.PIPE, text=True, cwd=self._folder, env=self._environment, check=False,
        )  # fmt: skip
        if made.returncode != 0:
            raise RoundError(f"the attacking process ended with {made.returncode}")
        return json.loads(made.stdout)

    def check_in_place(self) -> None:
        """Have the holder look at its own memory: not finding what is not there would prove nothing.

        Raises
        ------
        RoundError : a needle is not at the address told
        """
        absent = {needle.name for needle in self.target.needles} - set(self._ask(""))
        if absent:
            raise RoundError(f"the holder does not have in memory what it told: {', '.join(sorted(absent))}")

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the missing answer tells the rest
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RoundError(f"the process that was to hold the secrets ended with {self._process.wait()}")
        return json.loads(line)
