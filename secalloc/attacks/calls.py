"""System calls that Python has no function for, and what each attack needs of them."""
from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

__all__ = ["FORBIDDEN", "PAGE_BYTES", "become", "failure", "libc", "pages_of", "systemcall", "vectors", "yama"]

PAGE_BYTES = 4096
PR_SET_DUMPABLE = 4
FORBIDDEN = (errno.EPERM, errno.EACCES, errno.ENOSYS)
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def failure(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")


def systemcall(name: str, number: int, *arguments: int | ctypes.Array[ctypes.c_char]) -> int:
    """syscall(2). Addresses and sizes are of 64 bits."""
    passed = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *passed))
    if result < 0:
        raise failure(name)
    return result


def vectors(address: int, size: int) -> ctypes.Array[ctypes.c_size_t]:
    """One struct iovec."""
    return (ctypes.c_size_t * 2)(address, size)


def pages_of(address: int, size: int) -> tuple[int, int]:
    """First address and size of the pages on which so many bytes lie."""
    first = address & -PAGE_BYTES
    return first, (address + size - 1 & -PAGE_BYTES) + PAGE_BYTES - first


def become(uid: int) -> None:
    """Go on as an ordinary user, as if started by it. After the imports: its rights may not reach the interpreter."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    if libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0:  # a change of user forbids dumps and ptrace
        raise failure("prctl")


def yama() -> str:
    """The usual reason for a refusal among processes of the same user."""
    try:
        scope = Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip()
    except OSError:
        return ""
    return "" if scope == "0" else f" (kernel.yama.ptrace_scope is {scope})"
