"""What an attack is told and what it tells: needles, coded so that nobody who has one finds it for a plain one.

These words travel as JSON between the process that holds the round, the holder and the attacker.
"""
from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Attack", "CannotRun", "Needle", "Order", "Outcome", "Target"]


@dataclass(frozen=True)
class Needle:
    """Bytes to look for, coded: ``plain[i] == pad[i] ^ coded[i]``, both as hex. `address`: where the holder has it."""

    name: str
    pad: str
    coded: str
    address: int = 0

    @property
    def size(self) -> int:
        return len(self.pad) // 2

    def plain(self) -> bytes:
        return self._decoded(bytes.fromhex(self.coded))

    def is_at(self, there: Sequence[int] | ctypes.Array[ctypes.c_ubyte] | memoryview) -> bool:
        """Whether these are the needle's bytes. No plain copy of the needle is made: the holder may ask."""
        return len(there) == self.size and self._decoded(there) == bytes.fromhex(self.coded)

    def _decoded(self, data: Iterable[int]) -> bytes:
        return bytes(a ^ b for a, b in zip(bytes.fromhex(self.pad), data, strict=True))


@dataclass(frozen=True)
class Target:
    """A process and what it holds."""

    pid: int
    needles: list[Needle]

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Target:
        return cls(told["pid"], [Needle(**needle) for needle in told["needles"]])


@dataclass(frozen=True)
class Order:
    """What the attacker's program is told: whom to attack, and with which of `ATTACKS`."""

    target: Target
    attacks: list[str]

    @classmethod
    def from_json(cls, text: str) -> Order:
        told = json.loads(text)
        return cls(Target.from_json(told["target"]), told["attacks"])

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass
class Outcome:
    """What an attack found, by needle name; or why it could not run; or how it broke."""

    attack: str
    found: list[str] = field(default_factory=list[str])
    skipped: str | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Attack:
    """`run` answers the names of the needles that it reached.

    `inside`: the holder itself, or what it starts, runs it. `fatal`: the target does not survive it.
    """

    name: str
    description: str
    run: Callable[[Target], set[str]]
    inside: bool = False
    fatal: bool = False


class CannotRun(Exception):
    """The attack could not be tried; the message says why."""
