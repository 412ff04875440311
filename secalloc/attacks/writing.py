"""Another process's memory, written from outside: a key that an attacker chose is no secret.

Each writes the complement of what is there, at the very addresses, and then what was there. A write that the kernel
takes is a needle reached, whatever became of it.
"""
from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

from secalloc.attacks.calls import failure, libc, vectors
from secalloc.attacks.reading import traced
from secalloc.attacks.targets import Target
from secalloc.scan import areas

__all__ = ["proc_mem_write", "ptrace_poke", "vm_writev"]

PTRACE_POKEDATA = 5
WORD_BYTES = 8


def _write(target: Target, write: Callable[[int, bytes], None]) -> set[str]:
    """Try one aligned word of each needle. `write(address, word)`: OSError where it does not reach."""
    reached: set[str] = set()
    for needle in target.needles:
        at = -needle.address % WORD_BYTES
        word = needle.plain()[at : at + WORD_BYTES]
        try:
            write(needle.address + at, bytes(byte ^ 0xFF for byte in word))
        except OSError:
            continue
        reached.add(needle.name)
        write(needle.address + at, word)
    return reached


def proc_mem_write(target: Target) -> set[str]:
    fd = os.open(f"/proc/{target.pid}/mem", os.O_RDWR)

    def write(address: int, word: bytes) -> None:
        os.pwrite(fd, word, address)

    try:
        return _write(target, write)
    finally:
        os.close(fd)


def vm_writev(target: Target) -> set[str]:
    def write(address: int, word: bytes) -> None:
        buffer = ctypes.create_string_buffer(word, len(word))
        local, remote = vectors(ctypes.addressof(buffer), len(word)), vectors(address, len(word))
        if libc.process_vm_writev(target.pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) < 0:
            raise failure("process_vm_writev")

    # Not allowed at all? Then the error of a write of nothing tells.
    nothing = vectors(next(areas(target.pid)).first, 0)
    if libc.process_vm_writev(target.pid, ctypes.byref(nothing), 1, ctypes.byref(nothing), 1, 0) < 0:
        raise failure("process_vm_writev")
    return _write(target, write)


def ptrace_poke(target: Target) -> set[str]:
    def write(address: int, word: bytes) -> None:
        if libc.ptrace(PTRACE_POKEDATA, target.pid, address, int.from_bytes(word, sys.byteorder)) < 0:
            raise failure("ptrace")

    with traced(target.pid):
        return _write(target, write)
