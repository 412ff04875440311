"""How the guest tells the host: one line of JSON for each thing measured, on the second serial line.

A measurement has a name (see `vm.expectations`, which says what it must be) and a value; where it could not be made for
the kernel's own lack, a reason instead. What the guest tells to be read by people goes to the console.
"""
from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import Any

from secalloc.attacks import Needle

__all__ = ["Teller"]

LINE = "/dev/ttyS1"


class Teller:
    def __init__(self, path: str = LINE) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_NOCTTY)
        self._began = time.monotonic()

    def measured(self, name: str, value: Any) -> None:
        self._tell({"name": name, "value": value})

    def lacking(self, name: str, reason: str) -> None:
        """The kernel has not what this would be measured of."""
        self._tell({"name": name, "lacking": reason})

    def needles(self, where: str, needles: Sequence[Needle]) -> None:
        """What the host is to look for: see `vm.disk`."""
        self._tell({"name": f"needles of {where}", "needles": [[each.name, each.pad, each.coded] for each in needles]})

    def end(self) -> None:
        self._tell({"end": True})

    def _tell(self, line: dict[str, Any]) -> None:
        print(f"[{time.monotonic() - self._began:6.1f} s]", json.dumps(line)[:300], flush=True)
        data = json.dumps(line).encode() + b"\n"
        while data:
            data = data[os.write(self._fd, data) :]
