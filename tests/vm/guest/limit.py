"""What RLIMIT_MEMLOCK does to secret pages on this kernel.

By secretmem's own rules it limits what may be mapped, to each process, and not one with CAP_IPC_LOCK. Kernels with the
change "mm/secretmem: properly account locked pages" (CVE-2026-93243) count the pages that are touched instead, of all
processes of a user, whatever their capabilities; a touch beyond the limit is a SIGBUS, or EFAULT of a system call.
"""
from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import signal
from collections.abc import Callable
from functools import partial

from secalloc import MemlockLimitError, SecureBytes
from vm.guest.telling import Teller
from vm.guest.trials import outcome

__all__ = ["step"]

SYS_MEMFD_SECRET = 447
LIMIT_BYTES = 1 << 20
LIMIT_PAGES = LIMIT_BYTES // mmap.PAGESIZE

_libc = ctypes.CDLL(None, use_errno=True)


def touched(pages: int) -> tuple[int, str]:
    """How many of so many new secret pages can be touched, by read(2), and the errno of the first that cannot."""
    fd = _libc.syscall(SYS_MEMFD_SECRET, os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "memfd_secret")
    os.ftruncate(fd, pages * mmap.PAGESIZE)
    try:
        memory = mmap.mmap(fd, pages * mmap.PAGESIZE)
    except OSError as error:
        return 0, f"{errno.errorcode[error.errno or 0]} of mmap"
    zero = os.open("/dev/zero", os.O_RDONLY)
    for i in range(pages):
        try:
            os.preadv(zero, [memoryview(memory)[i * mmap.PAGESIZE :][:1]], 0)
        except OSError as error:
            return i, errno.errorcode[error.errno or 0]
    return pages, ""


def bare() -> str:
    pages, code = touched(2 * LIMIT_PAGES)
    return f"{pages} of {2 * LIMIT_PAGES} pages" + (f", then {code}" if code else "")


def beside_another() -> str:
    """While another process of this user has touched as many as fit into its limit."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(touched(LIMIT_PAGES)[0]).encode())
        signal.pause()
    theirs = int(os.read(reader, 10))
    ours = touched(LIMIT_PAGES)[0]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return f"{theirs} and {ours} of {LIMIT_PAGES} pages each"


def by_secalloc() -> str:
    """Objects made and written, of twice the limit in all."""
    keys = []
    try:
        for _ in range(2 * LIMIT_BYTES // (LIMIT_BYTES // 8)):
            keys.append(SecureBytes(LIMIT_BYTES // 8))
            keys[-1][:] = bytes(len(keys[-1]))
    except MemlockLimitError:
        return "MemlockLimitError"
    return "all"


TRIALS = {"bare pages": bare, "bare pages beside another process": beside_another, "objects": by_secalloc}
USERS = {"root": 0, "an ordinary user": 65534}


def step(teller: Teller) -> None:
    for user, uid in USERS.items():
        for name, trial in TRIALS.items():
            teller.measured(f"memlock limit of 1 MiB, as {user}: {name}", outcome(partial(limited, trial, uid)))


def limited(trial: Callable[[], str], uid: int) -> str:
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (LIMIT_BYTES, LIMIT_BYTES))
    os.setuid(uid)
    return trial()
