"""One process for each way of doing something, started together and asked in turns what it takes."""
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

__all__ = ["Programs"]


class Programs:
    """`module` is run once for each mode, with the mode and `arguments`; for each line of its standard input it writes
    one of JSON: nanoseconds by name."""

    def __init__(self, module: str, modes: Sequence[str], *arguments: str) -> None:
        self._programs = {
            mode: subprocess.Popen([sys.executable, "-P", "-m", module, mode, *arguments], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
            for mode in modes
        }  # fmt: skip

    def each(self, mode: str) -> dict[str, float]:
        """Nanoseconds of each thing, done once."""
        program = self._programs[mode]
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write("\n")
        program.stdin.flush()
        return dict(json.loads(program.stdout.readline()))

    def close(self) -> None:
        for program in self._programs.values():
            program.communicate()
