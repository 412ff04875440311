"""One boot of the guest, emulated in software: no hardware virtualisation, no network, two serial lines.

The first line is the console; what is told on the second, one line of JSON each, is what the host gets. The emulator
ends with the guest, at the time limit, or with this process, however that ends.
"""
from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vm.image import Missing

__all__ = ["EMULATOR", "MEMORY_MIB", "Boot", "BootFailed", "boot"]

EMULATOR = "qemu-system-x86_64"
MEMORY_MIB = 512
LIMIT_S = 900
END = "end"  # the word in the guest's last line


class BootFailed(Exception):
    """The guest did not come to its end; the message has the last lines of its console."""


@dataclass(frozen=True)
class Boot:
    """`told`: the guest's lines. `seconds`: from the emulator's start to its end."""

    parameters: str
    seconds: float
    told: list[dict[str, Any]]


def _command(kernel: Path, initramfs: Path, parameters: str, folder: Path, disk: Path | None) -> list[str]:
    program = shutil.which(EMULATOR)
    if program is None:
        raise Missing(f"there is no {EMULATOR}: install qemu-system-x86")
    command = [
        "setpriv", "--pdeathsig", "KILL",  # else it would outlive a parent that is killed
        program, "-no-user-config", "-nodefaults", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
        "-smp", "1", "-m", str(MEMORY_MIB), "-nic", "none", "-display", "none", "-no-reboot",
        "-serial", f"file:{folder / 'console'}", "-serial", f"file:{folder / 'told'}",
        "-kernel", str(kernel), "-initrd", str(initramfs), "-append", parameters,
    ]  # fmt: skip
    if disk is not None:  # NVMe: built into Debian's cloud kernels, where virtio is a module
        command += ["-drive", f"file={disk},format=raw,if=none,id=swap,cache=unsafe",
                    "-device", "nvme,serial=swap,drive=swap"]  # fmt: skip
    return command


def boot(
    kernel: Path, initramfs: Path, words: Sequence[str], folder: Path, disk: Path | None = None, limit: float = LIMIT_S
) -> Boot:
    """Start the guest and wait for its end. `words`: kernel parameters; `folder`: for the serial lines' files."""
    parameters = " ".join(["console=ttyS0", "quiet", "panic=-1", *words])
    began = time.monotonic()
    with subprocess.Popen(
        _command(kernel, initramfs, parameters, folder, disk), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    ) as emulator:  # fmt: skip
        try:
            said = emulator.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired:
            said = f"not at its end after {limit} s"
        finally:
            emulator.kill()
    told = [json.loads(line) for line in (folder / "told").read_text().splitlines() if line.strip()]
    if not told or END not in told[-1]:
        console = (folder / "console").read_text(errors="replace") if (folder / "console").exists() else ""
        raise BootFailed(f"{said}\n" + "\n".join(console.splitlines()[-40:]))
    return Boot(parameters, round(time.monotonic() - began, 1), told[:-1])
