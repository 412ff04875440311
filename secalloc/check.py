"""`secalloc check`: what this machine gives for secret memory, and what to change.

Each finding is made by one function from files below a root folder, so that tests can lay out machines that are not
there; `probe` asks the running kernel. What a file does not tell is shown as unknown, never as fine.
"""
from __future__ import annotations

import errno
import os
import platform
import re
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from secalloc_ext.errors import SecallocError
from secalloc_ext.heapobject import Heap, counts_touches, probe

__all__ = ["OK", "PROBLEM", "WARNING", "Finding", "findings", "reservation", "usable", "user"]

CAP_IPC_LOCK = 14
OK, WARNING, PROBLEM = "ok", "warning", "problem"
PAGE_BYTES = 4096
MEMLOCK_GOOD = 64 << 20  # bytes; below this a program with arrays soon meets the limit
MAP_COUNT_DEFAULT = 65530
FIRST, SWITCHED_ON = (5, 14), (6, 5)  # Linux with memfd_secret(2), and with it on without a boot parameter
CONTAINER_FILES = {".dockerenv": "docker", "run/.containerenv": "podman"}
CONTAINER_CGROUPS = ("docker", "kubepods", "containerd", "libpod", "lxc", "garden")
GVISOR_MARKS = ("gvisor", "sun jan 10 15:06:54 pst 2016")  # of /proc/version; the date is that of older ones too
SECCOMP = {"1": "strict", "2": "filter"}


@dataclass(frozen=True)
class Finding:
    """One row: `state` is "ok", "warning" or "problem" (secret memory cannot be used), `advice` one sentence to act on.

    `advice` is empty where there is nothing to do.
    """

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


def _number(text: str, base: int = 10) -> int | None:
    """The first word as a number; None where it is none."""
    try:
        return int(text.split()[0], base)
    except (IndexError, ValueError):
        return None


def _status(root: Path, key: str) -> str:
    for line in _read(root / "proc/self/status").splitlines():
        if line.startswith(key + ":"):
            return line.partition(":")[2].strip()
    return ""


def _bytes(size: int) -> str:
    if size == resource.RLIM_INFINITY:
        return "unlimited"
    if size >= 1 << 30:
        return f"{size / (1 << 30):.4g} GiB"
    if size >= 1 << 20:
        return f"{size / (1 << 20):.4g} MiB"
    return f"{size >> 10} KiB" if size >= 1 << 10 else f"{size} bytes"


def _release(root: Path) -> tuple[str, tuple[int, int] | None]:
    release = _read(root / "proc/sys/kernel/osrelease")
    match = re.match(r"(\d+)\.(\d+)", release)
    return release or "unknown", (int(match[1]), int(match[2])) if match else None


def _is_gvisor(root: Path) -> bool:
    version = _read(root / "proc/version").lower()
    return any(mark in version for mark in GVISOR_MARKS)


def kernel(root: Path, failure: SecallocError | None) -> Finding:
    release, version = _release(root)
    if version is None or (version < FIRST and failure is None):  # a distribution's kernel may have it from later
        return Finding("kernel", OK if failure is None else WARNING, release)
    if version < FIRST and not _is_gvisor(root):  # whose version is made up
        return Finding("kernel", PROBLEM, release, "Upgrade: memfd_secret(2) came with Linux 5.14.")
    return Finding("kernel", OK, release)


def memfd_secret(root: Path, failure: SecallocError | None, machine: str) -> Finding:
    """Why there is none, as well as can be told: the kernel has one errno for many reasons."""
    if failure is None:
        return Finding("memfd_secret", OK, "works")
    code = failure.errno if isinstance(failure, OSError) else None
    value = f"fails with {errno.errorcode.get(code, str(code))}" if code is not None else str(failure)
    return Finding("memfd_secret", PROBLEM, value, _remedy(root, failure, code, machine))


def _remedy(root: Path, failure: SecallocError, code: int | None, machine: str) -> str:
    if code == errno.EPERM:
        return "Allow the system call memfd_secret in the seccomp profile of the container or service."
    if code != errno.ENOSYS:
        return str(failure.args[-1])
    words = _read(root / "proc/cmdline").split()
    version = _release(root)[1]
    if _is_gvisor(root):
        return "Run it under another container runtime: gVisor has no memfd_secret."
    if any(re.fullmatch(r"secretmem\.enable=(0|n|N|no|off)", word) for word in words):
        return "Remove secretmem.enable=0 from the kernel's command line: it switches memfd_secret off."
    if version is not None and version < FIRST:
        return "Upgrade the kernel to 5.14 or newer."
    if version is not None and version < SWITCHED_ON and "secretmem.enable=1" not in words:
        return "Add secretmem.enable=1 to the kernel's command line: before Linux 6.5 it is off by default."
    if machine == "aarch64":
        return "Add rodata=full to the kernel's command line: without it arm64 cannot hide single pages."
    return "Use a kernel built with CONFIG_SECRETMEM, or look for a sandbox that hides the system call."


def memlock(root: Path, limits: tuple[int, int], locks_freely: bool, touches: bool) -> Finding:
    """`touches`: the kernel counts touched pages, whatever the capabilities, of all processes of the user."""
    soft, hard = limits
    used = _number(_status(root, "VmLck"))
    in_use = "use unknown" if used is None else f"{_bytes(used << 10)} in use"
    value = f"{_bytes(soft)} (hard {_bytes(hard)}), {in_use}"
    if touches:
        value += "; counts the secret pages of all processes of this user, root's too"
    elif locks_freely:
        return Finding("RLIMIT_MEMLOCK", OK, value + "; not enforced: CAP_IPC_LOCK")
    advice = "raise it with `ulimit -l` (limits.conf), LimitMEMLOCK= (systemd) or --ulimit memlock= (containers)."
    left = soft - ((used or 0) << 10)
    if soft != resource.RLIM_INFINITY and left < PAGE_BYTES:
        return Finding("RLIMIT_MEMLOCK", PROBLEM, value, "Not even one page of secret memory is left: " + advice)
    if soft != resource.RLIM_INFINITY and soft < MEMLOCK_GOOD:
        return Finding("RLIMIT_MEMLOCK", WARNING, value, "Enough for keys, little for arrays: " + advice)
    return Finding("RLIMIT_MEMLOCK", OK, value)


def has_ipc_lock(root: Path) -> bool:
    return bool((_number(_status(root, "CapEff"), 16) or 0) >> CAP_IPC_LOCK & 1)


def ipc_lock(root: Path) -> Finding:
    value = "yes" if has_ipc_lock(root) else "no: RLIMIT_MEMLOCK is enforced"
    return Finding("CAP_IPC_LOCK", OK, value)


def protection_keys(root: Path) -> Finding:
    """`pku`: the processor has them; `ospke`: the kernel uses them."""
    flags = set(_read(root / "proc/cpuinfo").split())
    if "ospke" in flags:
        return Finding("protection keys", OK, "yes")
    if "pku" in flags:
        return Finding(
            "protection keys", WARNING, "the processor has them, the kernel does not use them",
            "Remove nopku from the kernel's command line, or use a kernel with protection keys.",
        )  # fmt: skip
    return Finding("protection keys", OK, "no: mprotect does their work, slower")


def map_count(root: Path) -> Finding:
    count = _number(_read(root / "proc/sys/vm/max_map_count"))
    if count is None:
        return Finding("vm.max_map_count", WARNING, "unknown", "Look for a sandbox that hides /proc/sys/vm.")
    if count < MAP_COUNT_DEFAULT:
        advice = f"Set it to {MAP_COUNT_DEFAULT} or more with sysctl: each large object takes a mapping."
        return Finding("vm.max_map_count", WARNING, str(count), advice)
    return Finding("vm.max_map_count", OK, str(count))


def hibernation(root: Path) -> Finding:
    """The kernel takes `disk` from the states while any process has secret memory mapped."""
    if "disk" not in _read(root / "sys/power/state").split():
        return Finding("hibernation", OK, "not available")
    advice = "Call Heap.trim() once no secret lives: the kernel refuses to hibernate while secret memory is mapped."
    return Finding("hibernation", WARNING, f"available ({_read(root / 'sys/power/disk') or 'mode unknown'})", advice)


def core_dumps(root: Path, limits: tuple[int, int]) -> Finding:
    """A pattern that starts a program ignores a limit of 0."""
    pattern = _read(root / "proc/sys/kernel/core_pattern")
    shapes = _number(_read(root / "proc/self/coredump_filter"), 16)
    value = f"limit {_bytes(limits[0])}, to {pattern or 'nowhere'}, filter "
    value += "unknown" if shapes is None else f"{shapes:#x}"
    if limits[0] == 0 and not pattern.startswith("|"):
        return Finding("core dumps", OK, value)
    advice = "Set `ulimit -c 0` and a core_pattern without a pipe: a dump has no secret page, but every ordinary copy."
    return Finding("core dumps", WARNING, value, advice)


def ptrace_scope(root: Path) -> Finding:
    scope = _read(root / "proc/sys/kernel/yama/ptrace_scope")
    if scope in ("", "0"):
        return Finding(
            "ptrace", WARNING, "every process of the same user may attach",
            "Set kernel.yama.ptrace_scope to 1 or more: a debugger that injects code can read secrets.",
        )  # fmt: skip
    return Finding("ptrace", OK, f"kernel.yama.ptrace_scope is {scope}")


def swap(root: Path) -> Finding:
    devices = [line.split()[0] for line in _read(root / "proc/swaps").splitlines()[1:] if line.strip()]
    if not devices:
        return Finding("swap", OK, "none")
    advice = "Encrypt it: secret pages are never swapped, ordinary copies are."
    return Finding("swap", WARNING, ", ".join(devices), advice)


def confinement(root: Path) -> Finding:
    hints = [name for path, name in CONTAINER_FILES.items() if (root / path).exists()]
    hints += [_read(root / "run/systemd/container"), "gvisor" if _is_gvisor(root) else ""]
    cgroup = _read(root / "proc/self/cgroup")
    hints += [name for name in CONTAINER_CGROUPS if name in cgroup]
    mode = _status(root, "Seccomp")
    value = ", ".join(dict.fromkeys(filter(None, hints))) or "no container seen"
    value += f"; seccomp: {SECCOMP.get(mode, 'none' if mode == '0' else 'unknown')}"
    return Finding("container, seccomp", OK, value)


def findings(
    root: Path = Path("/"),
    ask: Callable[[], SecallocError | None] = probe,
    limit: Callable[[int], tuple[int, int]] = resource.getrlimit,
    machine: str | None = None,
    touches: Callable[[], bool] = counts_touches,
) -> list[Finding]:
    """Everything, in the order of the path to a secret page.

    Parameters
    ----------
    root : folder that stands for the machine's /
    ask : answers why memfd_secret(2) fails, or None
    limit : answers (soft, hard) of a resource
    machine : the processor's architecture; None: this one's
    touches : answers whether touched pages count against RLIMIT_MEMLOCK, and not mapped ones
    """
    failure = ask()
    return [
        kernel(root, failure),
        memfd_secret(root, failure, machine or platform.machine()),
        memlock(root, limit(resource.RLIMIT_MEMLOCK), has_ipc_lock(root), touches()),
        ipc_lock(root),
        map_count(root),
        protection_keys(root),
        confinement(root),
        hibernation(root),
        core_dumps(root, limit(resource.RLIMIT_CORE)),
        ptrace_scope(root),
        swap(root),
    ]


def reservation(size: int, progress: Callable[[int, int], None] | None = None) -> Finding:
    """Whether this user gets that many bytes of secret memory: they are reserved, touched, and given back."""
    heap = Heap("check")
    name, since = f"reserve {_bytes(size)}", time.perf_counter()
    try:
        heap.reserve(size, progress=progress)
    except SecallocError as error:
        got = heap.stats().committed
        return Finding(name, PROBLEM, f"no more than {_bytes(got)}", str(error.args[-1]))
    finally:
        heap.trim()
    took, threads = time.perf_counter() - since, len(os.sched_getaffinity(0))
    pages = max(-(-size // PAGE_BYTES), 1)
    return Finding(name, OK, f"{took:.3g} s, {took / pages * 1e6:.3g} us a page, {threads} threads")


def usable(rows: list[Finding]) -> bool:
    """Whether secret memory can be used here at all."""
    return all(row.state != PROBLEM for row in rows)


def user() -> str:
    """Whom the findings hold for: limits and capabilities differ by user."""
    return f"user {os.geteuid()}"
