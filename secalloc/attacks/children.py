"""What children of the holder have of its memory. They are started by the holder itself, as its own would be."""
from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from secalloc.attacks.calls import libc
from secalloc.attacks.descriptors import pidfd_getfd
from secalloc.attacks.targets import CannotRun, Target

__all__ = ["exec_child", "fork_child"]


def fork_child(target: Target) -> set[str]:
    """A forked child looks at the very addresses."""
    return _in_child(lambda: {n.name for n in target.needles if n.is_at(_copy_by_kernel(n.address, n.size))})


def exec_child(target: Target) -> set[str]:
    """Another program is started, as by programs that close nothing, and its descriptors are looked through."""
    program = shutil.which("cat")
    if program is None:
        raise CannotRun("cat is not installed")
    return _in_child(lambda: _inherited([program], target))


def _inherited(program: list[str], target: Target) -> set[str]:
    with subprocess.Popen(program, stdin=subprocess.PIPE, close_fds=False) as other:
        return pidfd_getfd(Target(other.pid, target.needles))


def _copy_by_kernel(address: int, size: int) -> bytes:
    """This process's own memory, read by write(2): where nothing is mapped that is an error, and no fault."""
    reader, writer = os.pipe()
    try:
        got = libc.write(writer, ctypes.c_void_p(address), ctypes.c_size_t(size))
        return os.read(reader, got) if got > 0 else b""
    finally:
        os.close(reader)
        os.close(writer)


def _in_child(search: Callable[[], set[str]]) -> set[str]:
    """What a forked child finds. It may decode the needles: its memory is not the holder's."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, whose locks it needs not
        child = os.fork()
    if child == 0:
        _tell_and_end(search, writer)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0:
        raise RuntimeError(f"the child ended with {status}")
    told = json.loads(text)
    if "errno" in told:
        raise OSError(told["errno"], told["error"])
    return set(told["found"])


def _tell_and_end(search: Callable[[], set[str]], writer: int) -> NoReturn:
    told: dict[str, Any]
    try:
        told = {"found": sorted(search())}
    except OSError as error:
        told = {"errno": error.errno, "error": str(error)}
    except Exception as error:
        told = {"errno": errno.EPROTO, "error": f"{type(error).__name__}: {error}"}
    os.write(writer, json.dumps(told).encode())
    os._exit(0)  # what the parent has at its exit is not for this one
