"""Pages that a process hands to the kernel by reference: from there they go to files, devices and other processes.

Run by the holder on its own memory, as a careless or a malicious library in it would. No attack leaves a plain copy of
a needle: the attacks after it must not find what it brought.
"""
from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import tempfile

from secalloc.attacks.calls import PAGE_BYTES, libc, pages_of, systemcall, vectors
from secalloc.attacks.targets import CannotRun, Needle, Target

__all__ = ["arrives", "direct_io", "userfaultfd", "vmsplice"]

SYS_USERFAULTFD = 323
UFFD_USER_MODE_ONLY, UFFD_API = 1, 0xAA
UFFDIO_API, UFFDIO_REGISTER, UFFDIO_UNREGISTER = 0xC018AA3F, 0xC020AA00, 0x8010AA01  # _IOWR of 24 and 32, _IOR of 16
UFFDIO_REGISTER_MODE_MISSING = 1


def arrives(reader: int, needle: Needle) -> bool:
    """Whether the needle's bytes come out of a descriptor."""
    came = bytearray(needle.size)
    os.readv(reader, [came])
    try:
        return needle.is_at(came)
    finally:
        came[:] = bytes(needle.size)


def vmsplice(target: Target) -> set[str]:
    """The pages themselves into a pipe, whose other end anybody may hold."""
    return {needle.name for needle in target.needles if _spliced(needle)}


def _spliced(needle: Needle) -> bool:
    reader, writer = os.pipe()
    try:
        got = libc.vmsplice(writer, ctypes.byref(vectors(needle.address, needle.size)), ctypes.c_size_t(1), 0)
        return got > 0 and arrives(reader, needle)
    finally:
        os.close(reader)
        os.close(writer)


def direct_io(target: Target) -> set[str]:
    """The device writes the pages to a file, past the page cache."""
    fd, path = tempfile.mkstemp()
    os.unlink(path)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_DIRECT)
    except OSError as error:
        os.close(fd)
        raise CannotRun(f"no O_DIRECT in {os.path.dirname(path)}: {error.strerror}") from error
    try:
        return {needle.name for needle in target.needles if _written(fd, needle)}
    finally:
        os.close(fd)


def _written(fd: int, needle: Needle) -> bool:
    first, size = pages_of(needle.address, needle.size)
    os.ftruncate(fd, 0)
    if libc.pwrite(fd, ctypes.c_void_p(first), ctypes.c_size_t(size), ctypes.c_long(0)) != size:
        if ctypes.get_errno() == errno.EINVAL:
            raise CannotRun("the file system takes no such write")
        return False
    memory = bytearray(size + PAGE_BYTES)  # of which one aligned page after the other is read
    at = -ctypes.addressof(ctypes.c_char.from_buffer(memory)) % PAGE_BYTES
    aligned = (ctypes.c_char * size).from_buffer(memory, at)
    got = os.preadv(fd, [memoryview(memory)[at : at + size]], 0)
    here = at + needle.address - first
    try:
        return got == size and needle.is_at(memoryview(memory)[here : here + needle.size])
    finally:
        ctypes.memset(aligned, 0, size)


def userfaultfd(target: Target) -> set[str]:
    """Whoever has the descriptor answers for the range's faults: he sees accesses, and says what is read."""
    fd = systemcall("userfaultfd", SYS_USERFAULTFD, os.O_CLOEXEC | UFFD_USER_MODE_ONLY)
    try:
        fcntl.ioctl(fd, UFFDIO_API, struct.pack("=QQQ", UFFD_API, 0, 0))
        return {needle.name for needle in target.needles if _registered(fd, needle)}
    finally:
        os.close(fd)


def _registered(fd: int, needle: Needle) -> bool:
    pages = struct.pack("=QQ", *pages_of(needle.address, needle.size))
    try:
        fcntl.ioctl(fd, UFFDIO_REGISTER, pages + struct.pack("=QQ", UFFDIO_REGISTER_MODE_MISSING, 0))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):  # as it says to memory of other kinds
            raise
        return False
    fcntl.ioctl(fd, UFFDIO_UNREGISTER, pages)
    return True
