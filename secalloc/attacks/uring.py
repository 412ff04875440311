"""io_uring(7): memory registered as a fixed buffer, and written to a pipe from there.

Run by the holder on its own memory. A registered buffer stays pinned while the ring lives, whoever has its descriptor.

    ring of 8: mmap 0        |head|tail|mask|...|array of indices| completions |    at the offsets that setup answers
               mmap 10000000 |entry 0|entry 1|...                                   64 bytes each
"""
from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import sys
from dataclasses import dataclass

from secalloc.attacks.calls import systemcall, vectors
from secalloc.attacks.references import arrives
from secalloc.attacks.targets import Needle, Target

__all__ = ["io_uring"]

SYS_SETUP, SYS_ENTER, SYS_REGISTER = 425, 426, 427
REGISTER_BUFFERS, UNREGISTER_BUFFERS = 0, 1
OP_WRITE_FIXED = 5
ENTER_GETEVENTS = 1
FEAT_SINGLE_MMAP = 1
OFF_SQES = 0x10000000
ENTRIES, ENTRY_BYTES, COMPLETION_BYTES = 8, 64, 16
PARAMS_BYTES = 120


@dataclass
class Ring:
    """What io_uring_setup(2) made. One write at a time."""

    fd: int
    queues: mmap.mmap
    entries: mmap.mmap
    tail_at: int
    array_at: int
    head_done_at: int
    done_at: int
    mask: int
    done_mask: int

    def _count(self, at: int) -> int:
        return int.from_bytes(self.queues[at : at + 4], sys.byteorder)

    def write_fixed(self, fd: int, address: int, size: int) -> int:
        """How many bytes were written, or -errno."""
        tail = self._count(self.tail_at)
        index = tail & self.mask
        entry = struct.pack("=BBHiQQIIQH", OP_WRITE_FIXED, 0, 0, fd, (1 << 64) - 1, address, size, 0, 0, 0)
        self.entries[index * ENTRY_BYTES : (index + 1) * ENTRY_BYTES] = entry.ljust(ENTRY_BYTES, b"\0")
        struct.pack_into("=I", self.queues, self.array_at + 4 * index, index)
        struct.pack_into("=I", self.queues, self.tail_at, tail + 1)
        systemcall("io_uring_enter", SYS_ENTER, self.fd, 1, 1, ENTER_GETEVENTS, 0, 0)
        head = self._count(self.head_done_at)
        at = self.done_at + (head & self.done_mask) * COMPLETION_BYTES
        _, result, _ = struct.unpack_from("=QiI", self.queues, at)
        struct.pack_into("=I", self.queues, self.head_done_at, head + 1)
        return int(result)


def _open() -> Ring:
    params = ctypes.create_string_buffer(PARAMS_BYTES)
    fd = systemcall("io_uring_setup", SYS_SETUP, ENTRIES, params)
    _, done_entries, _, _, _, features = struct.unpack_from("=6I", params.raw)
    if not features & FEAT_SINGLE_MMAP:
        os.close(fd)
        raise RuntimeError("a kernel before Linux 5.4")
    _, tail, mask, _, _, _, array = struct.unpack_from("=7I", params.raw, 40)
    done_head, _, done_mask, _, _, done = struct.unpack_from("=6I", params.raw, 80)
    queues = mmap.mmap(fd, max(array + 4 * ENTRIES, done + COMPLETION_BYTES * done_entries))
    entries = mmap.mmap(fd, ENTRIES * ENTRY_BYTES, offset=OFF_SQES)
    masks = [struct.unpack_from("=I", queues, at)[0] for at in (mask, done_mask)]
    return Ring(fd, queues, entries, tail, array, done_head, done, *masks)


def io_uring(target: Target) -> set[str]:
    """Register each needle's memory, and have the kernel write it from there."""
    ring = _open()
    try:
        return {needle.name for needle in target.needles if _written(ring, needle)}
    finally:
        os.close(ring.fd)


def _written(ring: Ring, needle: Needle) -> bool:
    vector = vectors(needle.address, needle.size)
    try:
        systemcall("io_uring_register", SYS_REGISTER, ring.fd, REGISTER_BUFFERS, ctypes.addressof(vector), 1)
    except OSError as error:
        if error.errno not in (errno.EFAULT, errno.EOPNOTSUPP):  # as it says to memory of other kinds
            raise
        return False
    reader, writer = os.pipe()
    try:
        got = ring.write_fixed(writer, needle.address, needle.size)
        return got > 0 and arrives(reader, needle)
    finally:
        os.close(reader)
        os.close(writer)
        systemcall("io_uring_register", SYS_REGISTER, ring.fd, UNREGISTER_BUFFERS, 0, 0)
