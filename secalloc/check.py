"""`secalloc check`: what this machine gives for secret memory, and what to change.

Each finding is made by one function from files below a root folder, so that tests can lay out machines that are not
there; `probe` asks the running kernel.
"""
from __future__ import annotations

import os
import platform
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from secalloc_ext.errors import SecallocError
from secalloc_ext.heapobject import probe

__all__ = ["Finding", "findings", "usable"]

CAP_IPC_LOCK = 14
OK, WARNING, PROBLEM = "ok", "warning", "problem"
MEMLOCK_GOOD = 64 << 20  # bytes; below this a program with arrays soon meets the limit
MAP_COUNT_DEFAULT = 65530


@dataclass(frozen=True)
class Finding:
    """One row: `state` is "ok", "warning" or "problem" (secret memory cannot be used), `advice` what to do."""

    name: str
    state: str
    value: str
    advice: str = ""


def _read(path: Path) -> str:
    """A file's text; empty where there is none, or none for us."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _status(root: Path, key: str) -> str:
    for line in _read(root / "proc/self/status").splitlines():
        if line.startswith(key + ":"):
            return line.partition(":")[2].strip()
    return ""


def _bytes(size: int) -> str:
    if size == resource.RLIM_INFINITY:
        return "unlimited"
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def kernel(root: Path) -> Finding:
    release = _read(root / "proc/sys/kernel/osrelease")
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers < (5, 14):
        return Finding("kernel", PROBLEM, release or "unknown", "memfd_secret(2) came with Linux 5.14: upgrade")
    return Finding("kernel", OK, release)


def memfd_secret(root: Path, failure: SecallocError | None) -> Finding:
    if failure is None:
        return Finding("memfd_secret", OK, "works")
    cmdline = _read(root / "proc/cmdline")
    if "secretmem.enable=0" in cmdline or "secretmem.enable=n" in cmdline:
        advice = "it is switched off on the kernel's command line: remove secretmem.enable=0"
    elif "gvisor" in _read(root / "proc/version").lower():
        advice = "gVisor has no memfd_secret: run under another container runtime"
    elif platform.machine() == "aarch64" and "rodata=full" not in cmdline:
        advice = "arm64 needs rodata=full on the kernel's command line"
    else:
        advice = str(failure.args[-1])
    return Finding("memfd_secret", PROBLEM, str(failure.args[0]), advice)


def memlock(root: Path, limits: tuple[int, int], locks_freely: bool) -> Finding:
    soft, hard = limits
    used = int((_status(root, "VmLck") or "0 kB").split()[0]) << 10
    value = f"{_bytes(soft)} (hard {_bytes(hard)}), {_bytes(used)} in use"
    if locks_freely:
        return Finding("RLIMIT_MEMLOCK", OK, value + "; not enforced: CAP_IPC_LOCK")
    advice = "raise it with `ulimit -l` (limits.conf), LimitMEMLOCK= (systemd) or --ulimit memlock= (containers)"
    if soft != resource.RLIM_INFINITY and soft < 16384:
        return Finding("RLIMIT_MEMLOCK", PROBLEM, value, "not even one key fits: " + advice)
    if soft != resource.RLIM_INFINITY and soft < MEMLOCK_GOOD:
        return Finding("RLIMIT_MEMLOCK", WARNING, value, "enough for keys, little for arrays: " + advice)
    return Finding("RLIMIT_MEMLOCK", OK, value)


def has_ipc_lock(root: Path) -> bool:
    return bool(int(_status(root, "CapEff") or "0", 16) >> CAP_IPC_LOCK & 1)


def ipc_lock(root: Path) -> Finding:
    return Finding("CAP_IPC_LOCK", OK, "yes" if has_ipc_lock(root) else "no")


def protection_keys(root: Path) -> Finding:
    flags = _read(root / "proc/cpuinfo").split()
    return Finding("protection keys", OK, "yes" if "ospke" in flags else "no: heaps are locked by mprotect")


def map_count(root: Path) -> Finding:
    count = int(_read(root / "proc/sys/vm/max_map_count") or "0")
    if count < MAP_COUNT_DEFAULT:
        return Finding("vm.max_map_count", WARNING, str(count), f"set it to {MAP_COUNT_DEFAULT} or more with sysctl")
    return Finding("vm.max_map_count", OK, str(count))


def hibernation(root: Path) -> Finding:
    if "disk" not in _read(root / "sys/power/state").split():
        return Finding("hibernation", OK, "not available")
    return Finding(
        "hibernation", WARNING, "available", "the kernel refuses it while secrets are mapped: call Heap.trim() before"
    )


def core_dumps(root: Path, limits: tuple[int, int]) -> Finding:
    pattern = _read(root / "proc/sys/kernel/core_pattern")
    kept = limits[0] == 0 and not pattern.startswith("|")
    value = f"limit {_bytes(limits[0])}, to {pattern or 'nowhere'}"
    if kept:
        return Finding("core dumps", OK, value)
    return Finding(
        "core dumps", WARNING, value, "secret pages are never dumped; ordinary copies are: see `ulimit -c`"
    )


def ptrace_scope(root: Path) -> Finding:
    scope = _read(root / "proc/sys/kernel/yama/ptrace_scope")
    if scope in ("", "0"):
        return Finding(
            "ptrace", WARNING, "every process of the same user may attach",
            "a debugger that injects code reads secrets: set kernel.yama.ptrace_scope to 1 or more",
        )  # fmt: skip
    return Finding("ptrace", OK, f"kernel.yama.ptrace_scope is {scope}")


def swap(root: Path) -> Finding:
    devices = len(_read(root / "proc/swaps").splitlines()) - 1
    value = f"{max(devices, 0)} devices" + ("; secret pages are never swapped" if devices > 0 else "")
    return Finding("swap", OK, value)


def confinement(root: Path) -> Finding:
    marks = {"docker": ".dockerenv", "podman": "run/.containerenv"}
    hints = [name for name, path in marks.items() if (root / path).exists()]
    if _status(root, "Seccomp") == "2":
        hints.append("a seccomp filter is on")
    return Finding("container, seccomp", OK, ", ".join(hints) or "none seen")


def findings(
    root: Path = Path("/"),
    ask: Callable[[], SecallocError | None] = probe,
    limit: Callable[[int], tuple[int, int]] = resource.getrlimit,
) -> list[Finding]:
    """Everything, in the order of the path to a secret page.

    Parameters
    ----------
    root : folder that stands for the machine's /
    ask : answers why memfd_secret(2) fails, or None
    limit : answers (soft, hard) of a resource
    """
    return [
        kernel(root),
        memfd_secret(root, ask()),
        memlock(root, limit(resource.RLIMIT_MEMLOCK), has_ipc_lock(root)),
        ipc_lock(root),
        map_count(root),
        protection_keys(root),
        confinement(root),
        hibernation(root),
        core_dumps(root, limit(resource.RLIMIT_CORE)),
        ptrace_scope(root),
        swap(root),
    ]


def usable(rows: list[Finding]) -> bool:
    """Whether secret memory can be used here at all."""
    return all(row.state != PROBLEM for row in rows)


def user() -> str:
    """Whom the findings hold for: limits and capabilities differ by user."""
    return f"user {os.geteuid()}"
