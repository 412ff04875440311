"""Another process's memory, read from outside."""
from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from secalloc.attacks.calls import failure, libc, vectors
from secalloc.attacks.targets import Target
from secalloc.scan import areas, runs

__all__ = ["proc_mem", "ptrace_peek", "traced", "vm_readv"]

PTRACE_PEEKDATA, PTRACE_ATTACH, PTRACE_DETACH = 2, 16, 17
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def _scan(target: Target, read: Callable[[int, int], bytes]) -> set[str]:
    """Look through all readable mappings, and once more at the addresses told, readable or not.

    `read(address, size)` answers what it could get; OSError where it gets nothing.
    """
    needles = {needle.name: needle.plain() for needle in target.needles}
    overlap = max(map(len, needles.values())) - 1
    ranges = [(area.first, area.end) for area in areas(target.pid)]
    ranges += [(needle.address, needle.address + needle.size) for needle in target.needles if needle.address]
    found: set[str] = set()
    for first, last in ranges:
        for _, data in runs(first, last, read, overlap):
            found |= {name for name, plain in needles.items() if plain in data}
    return found


def proc_mem(target: Target) -> set[str]:
    fd = os.open(f"/proc/{target.pid}/mem", os.O_RDONLY)
    try:
        return _scan(target, lambda address, size: os.pread(fd, size, address))
    finally:
        os.close(fd)


def vm_readv(target: Target) -> set[str]:
    def read(address: int, size: int) -> bytes:
        buffer = ctypes.create_string_buffer(size)
        local, remote = vectors(ctypes.addressof(buffer), size), vectors(address, size)
        got = libc.process_vm_readv(target.pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
        if got < 0:
            raise failure("process_vm_readv")
        return buffer.raw[:got]

    read(next(areas(target.pid)).first, 1)  # not allowed at all? then the error tells
    return _scan(target, read)


@contextmanager
def traced(pid: int) -> Generator[None]:
    """A block in which the target is stopped, and this process its debugger."""
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) < 0:
        raise failure("ptrace")
    os.waitpid(pid, 0)
    try:
        yield
    finally:
        libc.ptrace(PTRACE_DETACH, pid, None, None)


def ptrace_peek(target: Target) -> set[str]:
    found: set[str] = set()
    with traced(target.pid):
        for needle in target.needles:
            words = b""
            for offset in range(0, needle.size + 8, 8):
                ctypes.set_errno(0)
                word = libc.ptrace(PTRACE_PEEKDATA, target.pid, (needle.address & ~7) + offset, None)
                if ctypes.get_errno():
                    break
                words += (word & (1 << 64) - 1).to_bytes(8, sys.byteorder)
            if needle.plain() in words:
                found.add(needle.name)
    return found
