"""What a process can do about those who would look into it from outside, whatever its memory is.

None of it can be taken back, and none outlives an execve(2) but the limit and the privileges. A measure is taken, and
then looked at: what is told as done was seen to be so.
"""
from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from secalloc_ext.heapobject import seal

__all__ = ["MEASURES", "Measure", "harden_process"]

PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 3, 4, 38
PR_SET_PTRACER = 0x59616D61  # of Yama, where the kernel has it

_libc = ctypes.CDLL(None, use_errno=True)


class Measure(NamedTuple):
    """One measure: whether it is in force, and what that means, or why it is not."""

    name: str
    done: bool
    told: str


class NotDone(Exception):
    """The measure is not in force; the message says why."""


def _prctl(option: int, argument: int = 0) -> int:
    result = int(_libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl: {os.strerror(code)}")
    return result


def _status(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key + ":"):
            return line.partition(":")[2].strip()
    raise NotDone(f"this kernel does not tell {key} in {path}")


def _limit_dumps() -> str:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    if pattern.startswith("|") and _prctl(PR_GET_DUMPABLE) != 0:
        raise NotDone(f"RLIMIT_CORE is 0, but the core_pattern starts a program, which ignores it: {pattern.strip()}")
    return "RLIMIT_CORE is 0, for children too"


def _hide() -> str:
    _prctl(PR_SET_DUMPABLE, 0)
    if _prctl(PR_GET_DUMPABLE) != 0:
        raise NotDone("the kernel lets the process stay dumpable")
    return "no core dump, and /proc/PID belongs to root; until execve"


def _refuse_tracers() -> str:
    """What counts is that the process is not dumpable; Yama may have let somebody in."""
    tracer = _status("/proc/self/status", "TracerPid")
    if tracer != "0":
        raise NotDone(f"process {tracer} traces this one already")
    if _prctl(PR_GET_DUMPABLE) != 0:
        raise NotDone("the process is dumpable: processes of the same user may attach, as far as Yama lets them")
    if Path("/proc/sys/kernel/yama").exists():
        _prctl(PR_SET_PTRACER, 0)
    return "no process of the same user may attach or read memory; root may"


def _refuse_privileges() -> str:
    """Threads have it one by one, from the thread that starts them."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    threads = os.listdir("/proc/self/task")
    without = [thread for thread in threads if _status(f"/proc/self/task/{thread}/status", "NoNewPrivs") != "1"]
    if without:
        raise NotDone(f"in force for this thread only: {len(without)} of {len(threads)} were started before")
    return "programs that are set-uid run without it, children's too"


def _seal() -> str:
    seal()
    return "records and guard pages of the allocator cannot be unmapped or opened"


# In this order: what is not dumpable decides the two around it.
MEASURES: dict[str, Callable[[], str]] = {
    "not dumpable": _hide,
    "no core dumps": _limit_dumps,
    "no ptrace": _refuse_tracers,
    "no new privileges": _refuse_privileges,
    "sealed": _seal,
}


def harden_process(*, skip: Collection[str] = ()) -> list[Measure]:
    """Close this process to others of its user: no core dump, no debugger, no set-uid programs, mappings sealed.

    Early in the program, before it starts threads. It cannot be taken back.

    Parameters
    ----------
    skip : names of `MEASURES` to leave out

    Returns
    -------
    list of Measure : each with whether it is in force, and why not

    Raises
    ------
    ValueError : `skip` names no measure

    Notes
    -----
    A process that is not dumpable cannot open some files of its own in /proc, as `environ`, `mem` and `pagemap`, unless
    it is root's; profilers and debuggers of the same user cannot either. Root can still attach, and inject code.
    execve(2) makes a process dumpable again. `sealed`: see mseal(2).

    Thread safety: privileges are refused for the calling thread, and for those that it starts from then on.
    """
    unknown = set(skip) - set(MEASURES)
    if unknown:
        raise ValueError(f"no such measure: {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    return [_taken(name, take) for name, take in MEASURES.items() if name not in skip]


def _taken(name: str, take: Callable[[], str]) -> Measure:
    try:
        return Measure(name, True, take())
    except NotDone as reason:
        return Measure(name, False, str(reason))
    except OSError as error:
        return Measure(name, False, error.strerror or str(error))
