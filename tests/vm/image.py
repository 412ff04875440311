"""The initramfs: this interpreter, the installed packages, busybox, and the guest's half of this package.

All files keep the paths that they have here, but for the packages, which are in /site. The archive is cpio's "newc",
not compressed: QEMU's emulated processor would take longer to unpack it than to copy it.
"""
from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from vm.guest.search import LIBRARY, compile_library

__all__ = ["SITE", "Missing", "build", "write_archive"]

SITE = "site"
PACKAGES = ("secalloc", "secalloc_ext", "numpy")
# Of the standard library and of numpy: what no guest imports. Each is a name of a folder or file, anywhere in them.
LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "turtle.py", "ensurepip", "lib2to3", "pydoc_data",
            "distutils", "venv", "site-packages", "dist-packages", "unittest", "curses", "dbm", "sqlite3", "xmlrpc",
            "wsgiref", "xml", "f2py", "include", "_pyinstaller"}  # fmt: skip
LEFT_OUT_NAMES = re.compile(r"\.(pyi|pxd|pyx|c|h|a|o)$|^(config-|_test|_ctypes_test|_tkinter|_sqlite3|_codecs_|xx)")
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox mount -t tmpfs tmpfs /tmp
export PATH=/bin HOME=/tmp PYTHONPATH=/{site} PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 LANG=C.UTF-8
ulimit -l unlimited
{python} -P -m vm.guest </dev/null >/dev/ttyS0 2>&1
/bin/busybox poweroff -f
"""


class Missing(Exception):
    """Something that the image is made of is not on this machine; the message says what to do."""


def _kept(folder: Path) -> Iterator[Path]:
    """The files below a folder that a guest may need."""
    for path in folder.iterdir():
        if path.name in LEFT_OUT or LEFT_OUT_NAMES.search(path.name):
            continue
        if path.is_dir():
            yield from _kept(path)
        else:
            yield path


def _copy(source: Path, target: Path) -> None:
    """With its time, by which Python tells whether what it compiled is up to date. A link becomes a file."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _copy_interpreter(root: Path) -> None:
    executable = Path(sys.executable).resolve()
    _copy(executable, root / executable.relative_to("/"))
    for folder in {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}:
        for path in _kept(folder):
            _copy(path, root / path.relative_to("/"))


def _copy_packages(root: Path) -> None:
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise Missing(f"{name} is not installed for {sys.executable}")
        folder = Path(spec.origin).parent
        beside = folder.parent / f"{name}.libs"
        for each in (folder, *([beside] if beside.is_dir() else [])):
            for path in _kept(each):
                _copy(path, root / SITE / path.relative_to(folder.parent))


def _copy_guest(root: Path) -> None:
    here = Path(__file__).parent
    for path in here.rglob("*.py"):
        _copy(path, root / SITE / "vm" / path.relative_to(here))
    compile_library(root / SITE / "vm" / LIBRARY.relative_to(here))


def _libraries(root: Path) -> None:
    """What the loader would load for each program and library of the image, and the loader itself."""
    programs = [path for path in root.rglob("*") if path.is_file() and (".so" in path.name or os.access(path, os.X_OK))]
    for path in programs:
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                continue
        told = subprocess.run(["ldd", path], capture_output=True, text=True, check=False, env=_library_path()).stdout
        for line in told.splitlines():
            match = re.search(r"(?:=> )?(/\S+) \(0x", line)
            if match and not Path(match[1]).is_relative_to(root):
                _copy(Path(match[1]), root / match[1].lstrip("/"))
            elif "not found" in line:
                raise Missing(f"{path}: {line.strip()}")


def _library_path() -> dict[str, str]:
    """The copied interpreter finds its own libraries where the original does."""
    return dict(os.environ, LD_LIBRARY_PATH=str(Path(sys.executable).resolve().parent.parent / "lib"))


def _strip(root: Path) -> None:
    """Without what debuggers want, most of the size, which is memory in the guest. Not libraries that wheels bring:
    their sections were moved by patchelf, after which strip makes files that cannot be loaded."""
    if not shutil.which("strip"):
        raise Missing("there is no strip: install binutils")
    objects = [path for path in root.rglob("*.so*") if not path.parent.name.endswith(".libs")]
    subprocess.run(["strip", "--strip-debug", *objects], check=True)


def _compile(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "compileall", "-q", "-j", "0", "-s", root, "-p", "/", root],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the image's modules cannot be compiled: {done.stdout}{done.stderr}")


def _busybox(root: Path) -> None:
    program = shutil.which("busybox")
    if program is None:
        raise Missing("there is no busybox: install busybox-static")
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    if told.returncode == 0 and "statically" not in told.stdout:
        raise Missing(f"{program} needs libraries: install busybox-static")
    _copy(Path(program), root / "bin/busybox")


def _lay_out(root: Path, told: dict[str, Any]) -> None:
    for folder in ("proc", "sys", "dev", "tmp", "bin"):
        (root / folder).mkdir(parents=True)
    _busybox(root)
    _copy_interpreter(root)
    _copy_packages(root)
    _copy_guest(root)
    _libraries(root)
    _strip(root)
    _compile(root)
    python = Path(sys.executable).resolve()
    init = root / "init"
    init.write_text(INIT.format(python=python, site=SITE))
    init.chmod(0o755)
    (root / "told.json").write_text(json.dumps(told))


def _write_entry(
    archive: IO[bytes], name: str, mode: int, mtime: int, data: bytes, device: tuple[int, int] = (0, 0)
) -> None:
    """One file of cpio's "newc" format: see Documentation/driver-api/early-userspace/buffer-format.rst of Linux."""
    encoded = name.encode() + b"\0"
    numbers = (0, mode, 0, 0, 1, mtime, len(data), 0, 0, *device, len(encoded), 0)
    archive.write(b"070701" + b"".join(b"%08x" % number for number in numbers) + encoded)
    archive.write(b"\0" * (-(110 + len(encoded)) % 4))
    archive.write(data)
    archive.write(b"\0" * (-len(data) % 4))


def write_archive(root: Path, target: Path) -> None:
    """All below `root`, which is the guest's /."""
    with target.open("wb") as archive:
        for path in sorted(root.rglob("*")):
            info = path.stat()
            data = b"" if path.is_dir() else path.read_bytes()
            _write_entry(archive, str(path.relative_to(root)), info.st_mode, int(info.st_mtime), data)
        _write_entry(archive, "dev/console", stat.S_IFCHR | 0o600, 0, b"", (5, 1))  # before devtmpfs is mounted
        _write_entry(archive, "TRAILER!!!", 0, 0, b"")


def build(folder: Path, told: dict[str, Any]) -> Path:
    """The archive's path, in `folder`. `told`: what the guest finds in /told.json."""
    root, archive = folder / "root", folder / "initramfs"
    _lay_out(root, told)
    write_archive(root, archive)
    shutil.rmtree(root)
    return archive
