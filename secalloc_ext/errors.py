"""Layer 4: the exceptions, and the one place where an error of the core becomes one of them.

Every message says what happened, and what to do about it on this machine.
"""
from __future__ import annotations

import errno
import os
import resource  # here: at a limit there may be no descriptor or mapping left to load it with

__all__ = [
    "AllocationError",
    "ForkedError",
    "HeapLimitError",
    "MemlockLimitError",
    "ProtectedError",
    "SecallocError",
    "SecretMemoryUnavailable",
    "SecretMemoryWarning",
    "TooLateError",
    "UnsupportedError",
    "WipedError",
]


class SecallocError(Exception):
    """The root of all that secalloc raises of its own."""


class SecretMemoryUnavailable(SecallocError, OSError):
    """The kernel gives no secret memory at all. `errno` says why: ENOSYS, EPERM or EINVAL."""


class AllocationError(SecallocError, MemoryError):
    """No secret memory for this request. Nothing is lost, and the heap goes on working."""


class MemlockLimitError(AllocationError):
    """RLIMIT_MEMLOCK is reached."""


class HeapLimitError(AllocationError):
    """The heap's own limit is reached."""


class WipedError(SecallocError, ValueError):
    """The object was wiped."""


class ForkedError(SecallocError):
    """The object belongs to the process that forked this one; its pages are not here."""


class ProtectedError(SecallocError):
    """The object's pages do not allow this access at present."""


class TooLateError(SecallocError):
    """This can only be done before first use."""


class UnsupportedError(SecallocError):
    """A library or an interpreter is built in a way that is not known here; nothing was done to it."""


class SecretMemoryWarning(UserWarning):
    """Secrets are held by a weaker backend than memfd_secret."""


_UNSUPPORTED = (
    "this kernel gives no secret memory: memfd_secret(2) needs Linux 5.14 or newer, before 6.5 also "
    "secretmem.enable=1 on the kernel command line, on arm64 also rodata=full; gVisor has none. "
    "Run `secalloc check`, or choose backend='mlock', which root can read"
)
_FORBIDDEN = (
    "memfd_secret(2) is forbidden here, most often by a container's seccomp profile: "
    "allow the system call memfd_secret in the profile"
)
_MEMLOCK = (
    "RLIMIT_MEMLOCK is reached: the limit is {memlock}, this heap has {committed} bytes of it in use. "
    "Raise it with `ulimit -l` (limits.conf), LimitMEMLOCK= (systemd) or --ulimit memlock= (containers)"
)


def _memlock() -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return "unlimited" if soft == resource.RLIM_INFINITY else f"{soft} bytes"


def _mappings() -> str:
    """What stands behind ENOMEM of mmap(2): these limits count when they are set."""
    limits = {"RLIMIT_AS (`ulimit -v`)": resource.RLIMIT_AS, "RLIMIT_DATA (`ulimit -d`)": resource.RLIMIT_DATA}
    set_here = [name for name, which in limits.items() if resource.getrlimit(which)[0] != resource.RLIM_INFINITY]
    return " or ".join(["vm.max_map_count (sysctl)", *set_here])


def exception_for(kind: str, size: int, committed: int, limit: int, flags: int) -> SecallocError:
    """The exception for an ERROR_* of prim.h.

    Parameters
    ----------
    kind : the constant's name behind ``ERROR_``
    size, committed, limit : bytes asked for, mapped by the heap, allowed to the heap
    flags : what memfd_secret was called with
    """
    wish = f" for {size} bytes" if size else ""
    if kind == "UNSUPPORTED":
        return SecretMemoryUnavailable(errno.ENOSYS, _UNSUPPORTED)
    if kind == "FORBIDDEN":
        return SecretMemoryUnavailable(errno.EPERM, _FORBIDDEN)
    if kind == "FLAGS":
        return SecretMemoryUnavailable(
            errno.EINVAL, f"memfd_secret(2) of Linux {os.uname().release} does not know the flags {flags:#x}"
        )
    if kind == "PAGE_SIZE":
        return SecretMemoryUnavailable(errno.EINVAL, "secalloc needs pages of 4096 bytes")
    if kind == "MEMLOCK":
        return MemlockLimitError(
            f"no secret memory{wish}: " + _MEMLOCK.format(memlock=_memlock(), committed=committed)
        )
    if kind == "HEAP_LIMIT":
        return HeapLimitError(
            f"no secret memory{wish}: the heap's limit is {limit} bytes, {committed} are mapped"
        )
    if kind == "LOCKED":
        return ProtectedError("the heap is locked: use `with heap.unlocked():`, or `heap.unlock()`")
    if kind == "INHERITED":
        return ForkedError("the object belongs to the parent process")
    reasons = {
        "MAP_COUNT": f"the process can have no more mappings: raise {_mappings()}",
        "FILES": "no file descriptor is left to map secret memory with: raise `ulimit -n` or close some",
        "FILE_SIZE": "no file may be that long, secretmem's neither: raise RLIMIT_FSIZE (`ulimit -f`)",
        "MEMORY": "no ordinary memory is left for the records of a heap: see RLIMIT_DATA (`ulimit -d`), "
        "vm.overcommit_memory and vm.max_map_count",
        "RANDOM": "getrandom(2) is refused, most often by a container's seccomp profile: allow it there",
        "ADDRESS_SPACE": "the address space is used up: raise RLIMIT_AS (`ulimit -v`), and SECALLOC_RESERVATION if set",
        "SIZE": "no machine has that much",
        "HEAPS": "too many heaps live at once; close some",
    }
    return AllocationError(f"no secret memory{wish}: " + reasons.get(kind, "the kernel refused"))
