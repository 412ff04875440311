"""What open descriptors and mapped files lead to."""
from __future__ import annotations

import errno
import mmap
import os
from contextlib import ExitStack
from pathlib import Path

from secalloc.attacks.calls import systemcall
from secalloc.attacks.targets import CannotRun, Target

__all__ = ["map_files", "mapped", "pidfd_getfd", "proc_fd", "search_file"]

SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438


def mapped(fd: int, target: Target) -> set[str]:
    """What is found in a descriptor's file; nothing for a pipe or an empty file."""
    try:
        data = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return set()
    with data:
        return {needle.name for needle in target.needles if data.find(needle.plain()) >= 0}


def search_file(path: Path, target: Target) -> set[str]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return {needle.name for needle in target.needles if data.find(needle.plain()) >= 0}


def pidfd_getfd(target: Target) -> set[str]:
    found: set[str] = set()
    pidfd = systemcall("pidfd_open", SYS_PIDFD_OPEN, target.pid, 0)
    with ExitStack() as stack:
        stack.callback(os.close, pidfd)
        for name in os.listdir(f"/proc/{target.pid}/fd"):
            try:
                fd = systemcall("pidfd_getfd", SYS_PIDFD_GETFD, pidfd, int(name), 0)
            except OSError as error:
                if error.errno != errno.EBADF:  # it was closed meanwhile
                    raise
                continue
            stack.callback(os.close, fd)
            found |= mapped(fd, target)
    return found


def proc_fd(target: Target) -> set[str]:
    return _follow(target, f"/proc/{target.pid}/fd")


def map_files(target: Target) -> set[str]:
    return _follow(target, f"/proc/{target.pid}/map_files")


def _follow(target: Target, folder: str) -> set[str]:
    """Open every file that a folder's links lead to."""
    found: set[str] = set()
    refused = opened = 0
    for link in Path(folder).iterdir():
        try:
            found |= search_file(link, target)
            opened += 1
        except PermissionError:
            refused += 1
        except (OSError, ValueError):
            opened += 1  # ENXIO for secret memory, nothing in an empty file
    if refused and not opened:
        raise CannotRun("needs CAP_CHECKPOINT_RESTORE")
    return found
