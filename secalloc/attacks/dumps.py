"""Core dumps: by a debugger, of a process that lives on, and by the kernel, of one that dies."""
from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from secalloc.attacks.calls import yama
from secalloc.attacks.descriptors import search_file
from secalloc.attacks.targets import CannotRun, Target

__all__ = ["debugger_dump", "kernel_dump"]

DUMP_EVERYTHING = "0xff"  # of /proc/PID/coredump_filter: all kinds of mapping
CORE_BYTES_MAX = 1 << 31


def debugger_dump(target: Target) -> set[str]:
    if not shutil.which("gcore"):
        raise CannotRun("gdb is not installed")
    _allow_everything(target.pid)
    with tempfile.TemporaryDirectory() as folder:
        # Not `gcore -a`: it ignores MADV_DONTDUMP, and writes the whole reservation of secalloc, a file of a tebibyte.
        made = subprocess.run(
            ["gcore", "-o", f"{folder}/core", str(target.pid)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, preexec_fn=_limit_files,
        )  # fmt: skip
        cores = list(Path(folder).iterdir())
        if not cores:
            reason = "gcore: " + (made.stderr.strip().splitlines() or ["no core file"])[-1]
            if "not permitted" in made.stderr:
                raise CannotRun(reason + yama())
            raise RuntimeError(reason)
        return set[str]().union(*(search_file(core, target) for core in cores))


def _limit_files() -> None:
    """A dump that grows beyond all measure shall fail, not fill the disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (CORE_BYTES_MAX, CORE_BYTES_MAX))


def _allow_everything(pid: int) -> None:
    """By default a dump leaves out mapped files; a good attacker has them in."""
    Path(f"/proc/{pid}/coredump_filter").write_text(DUMP_EVERYTHING)


def kernel_dump(target: Target) -> set[str]:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if not pattern or pattern.startswith(("|", "/", "@")) or "%" in pattern.replace("%p", ""):
        raise CannotRun(f"core_pattern is {pattern!r}: the dump would go elsewhere")
    _allow_everything(target.pid)
    hard = resource.prlimit(target.pid, resource.RLIMIT_CORE)[1]
    if hard == 0:
        raise CannotRun("the hard limit RLIMIT_CORE is 0")
    resource.prlimit(target.pid, resource.RLIMIT_CORE, (hard, hard))
    folder = Path(f"/proc/{target.pid}/cwd").resolve()
    os.kill(target.pid, signal.SIGABRT)
    while _is_alive(target.pid):  # until the dump is written
        time.sleep(0.01)
    cores = list(folder.glob(pattern.replace("%p", str(target.pid)) + "*"))
    if not cores:
        raise RuntimeError(f"the kernel wrote no core file to {folder}")
    try:
        return set[str]().union(*(search_file(core, target) for core in cores))
    finally:
        for core in cores:
            core.unlink()


def _is_alive(pid: int) -> bool:
    """False for a zombie: its parent, which need not wait for it yet, is another process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
