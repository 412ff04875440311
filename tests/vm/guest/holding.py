"""A holder as seen by the steps: what it told, where its objects are in physical memory, and its end."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from secalloc.attacks import Target
from secalloc.attacks.physical import Place, place_of

__all__ = ["Holder"]


class Holder:
    """A holder process from `with` to its end. Its needles are called by `prefix` and their own name."""

    def __init__(self, prefix: str, *arguments: str) -> None:
        self._prefix, self._arguments = prefix, arguments

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "vm.guest.holder", *self._arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self._process.pid
        target = Target.from_json(self._answer()["target"])
        self.needles = [replace(each, name=f"{self._prefix} {each.name}") for each in target.needles]
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the holder {' '.join(self._arguments)} ended with {self._process.wait()}")
        return json.loads(line)

    def in_place(self) -> bool:
        """Whether the holder still has all in memory: else finding nothing would mean nothing."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return {f"{self._prefix} {name}" for name in self._answer()} == {each.name for each in self.needles}

    def place_of(self, address: int) -> Place:
        """Where in physical memory."""
        fd = os.open(f"/proc/{self.pid}/pagemap", os.O_RDONLY)
        try:
            return place_of(fd, address)
        finally:
            os.close(fd)

    def kill(self) -> None:
        """By SIGKILL: it can wipe nothing."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
