"""One kernel after the other: each is booted several times, with other parameters, and told what it measured."""
from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import secalloc
from secalloc.attacks import Needle
from vm import disk, keys, machine
from vm.expectations import Measured
from vm.guest.search import compile_library
from vm.image import build
from vm.kernels import KERNELS, Kernel, kernel

__all__ = ["BOOTS", "REPORT", "run", "versions", "write"]

REPORT = Path(__file__).with_name("report.json")
ENABLE = "secretmem.enable=1"
# By its name in the report: what is done, and with which parameters of the kernel.
BOOTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "live": ("live", ("hibernate=nocompress",)),
    "filled": ("fill", ()),
    "filled, pti=on": ("fill", ("pti=on",)),
    "off": ("off", ("secretmem.enable=0",)),
    "by default": ("off", ()),  # of kernels where it is off by default
}


def _words(name: str, one: Kernel) -> list[str]:
    step, words = BOOTS[name]
    switch = [ENABLE] if step != "off" and one.needs_parameter else []
    return [f"vm.boot={step}", *switch, *words]


def _look_at_disk(measured: Measured, told: Sequence[dict[str, Any]], image: Path, library: Path) -> None:
    """What the guest told to look for, in what it has written."""
    for line in told:
        if "needles" in line:
            where = line["name"].removeprefix("needles of ")
            needles = [Needle(*each) for each in line["needles"]]
            looked = disk.look(image, needles, library)
            found = {each.name: each.name in looked.found for each in needles}
            kept = measured.setdefault(f"{where}: markers on the disk", {"value": {"found": {}, "bytes read": 0}})
            kept["value"]["found"] |= found
            kept["value"]["bytes read"] = looked.read


def _boot(one: Kernel, name: str, initramfs: Path, folder: Path) -> dict[str, Any]:
    for left in ("console", "told"):
        (folder / left).unlink(missing_ok=True)
    image, library = folder / "disk", folder / "words.so"
    disk.make(image)
    compile_library(library)
    booted = machine.boot(one.image, initramfs, _words(name, one), folder, image)
    measured: Measured = {}
    for line in booted.told:
        if "needles" not in line:
            measured[line["name"]] = {key: value for key, value in line.items() if key != "name"}
    _look_at_disk(measured, booted.told, image, library)
    return {"parameters": booted.parameters, "seconds": booted.seconds, "measured": measured}


def _measure(one: Kernel) -> dict[str, Any]:
    boots: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="secalloc-vm-") as folder:
        initramfs = build(Path(folder), {"keys": keys.coded_keys()})
        for name in BOOTS:
            if name == "by default" and not one.needs_parameter:
                continue
            boots[name] = _boot(one, name, initramfs, Path(folder))
            print(f"Linux {one.release}, {name}: {boots[name]['seconds']} s", flush=True)
    return {"release": one.release, "version": one.version, "boots": boots}


def versions() -> dict[str, str]:
    said = subprocess.run([machine.EMULATOR, "--version"], capture_output=True, text=True, check=True).stdout
    import numpy

    return {
        "emulator": said.splitlines()[0].removeprefix("QEMU emulator version ").split()[0],
        "python": platform.python_version(), "numpy": numpy.__version__, "secalloc": secalloc.__version__,
        "memory in MiB": str(machine.MEMORY_MIB),
    }  # fmt: skip


def run(names: Sequence[str], *, refresh: bool = False) -> dict[str, Any]:
    """The report of these kernels."""
    return {"versions": versions(), "kernels": {name: _measure(kernel(name, refresh=refresh)) for name in names}}


def write(report: dict[str, Any], path: Path = REPORT) -> None:
    """Complete, or as it was. Kernels that were not measured now stay as they were measured before."""
    before = json.loads(path.read_text())["kernels"] if path.exists() else {}
    kernels = before | report["kernels"]
    report = report | {"kernels": {name: kernels[name] for name in KERNELS if name in kernels}}
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(report, indent=1) + "\n")
    part.replace(path)
