"""Attacks on another process's memory, as an intruder with the same rights would try them.

Run by `secalloc demo` and by the tests, always from another process than the one attacked. The attacker is told more
than a real one would know: what to look for and at which addresses; and it looks through everything else as well. What
it looks for comes XOR-coded, so that a coded needle is never found for a plain one.

As a program (``python -m secalloc.attacks``) it reads an `Order` as JSON from standard input and writes a list of
`Outcome` to standard output. An argument is the user id to run as.

A new attack is a function that takes a `Target` and answers the names of the needles it found, and a line in `ATTACKS`.
It raises `CannotRun` where it cannot be tried. Being forbidden is a reason to skip it as well; every other error is a
failure: an attack that broke has shown nothing.
"""
from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from secalloc.scan import areas, runs

__all__ = ["ATTACKS", "Attack", "CannotRun", "Needle", "Order", "Outcome", "Target", "attack", "become"]

DUMP_EVERYTHING = "0xff"  # of /proc/PID/coredump_filter: all kinds of mapping
FORBIDDEN = (errno.EPERM, errno.EACCES, errno.ENOSYS)
CORE_BYTES_MAX = 1 << 31
SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438
PR_SET_DUMPABLE = 4
PTRACE_PEEKDATA, PTRACE_ATTACH, PTRACE_DETACH = 2, 16, 17

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Needle:
    """Bytes to look for, coded: ``plain[i] == pad[i] ^ coded[i]``, both as hex. `address`: where the holder has it."""

    name: str
    pad: str
    coded: str
    address: int = 0

    def plain(self) -> bytes:
        return bytes(a ^ b for a, b in zip(bytes.fromhex(self.pad), bytes.fromhex(self.coded), strict=True))


@dataclass(frozen=True)
class Target:
    """A process and what it holds."""

    pid: int
    needles: list[Needle]

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Target:
        return cls(told["pid"], [Needle(**needle) for needle in told["needles"]])


@dataclass(frozen=True)
class Order:
    """What the attacker's program is told: whom to attack, and with which of `ATTACKS`."""

    target: Target
    attacks: list[str]

    @classmethod
    def from_json(cls, text: str) -> Order:
        told = json.loads(text)
        return cls(Target.from_json(told["target"]), told["attacks"])

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass
class Outcome:
    """What an attack found, by needle name; or why it could not run; or how it broke."""

    attack: str
    found: list[str] = field(default_factory=list[str])
    skipped: str | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Attack:
    """`run` answers the names of the needles found. `fatal`: the target does not survive it."""

    name: str
    description: str
    run: Callable[[Target], set[str]]
    fatal: bool = False


class CannotRun(Exception):
    """The attack could not be tried; the message says why."""


def _failure(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")


def _scan(target: Target, read: Callable[[int, int], bytes]) -> set[str]:
    """Look through all readable mappings, and once more at the addresses told, readable or not.

    `read(address, size)` answers what it could get; OSError where it gets nothing.
    """
    needles = {needle.name: needle.plain() for needle in target.needles}
    overlap = max(map(len, needles.values())) - 1
    ranges = [(area.first, area.end) for area in areas(target.pid)]
    ranges += [(needle.address, needle.address + len(needle.plain())) for needle in target.needles if needle.address]
    found: set[str] = set()
    for first, last in ranges:
        for _, data in runs(first, last, read, overlap):
            found |= {name for name, plain in needles.items() if plain in data}
    return found


def _search_file(path: Path, target: Target) -> set[str]:
    needles = {needle.name: needle.plain() for needle in target.needles}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return {name for name, plain in needles.items() if data.find(plain) >= 0}


def proc_mem(target: Target) -> set[str]:
    fd = os.open(f"/proc/{target.pid}/mem", os.O_RDONLY)
    try:
        return _scan(target, lambda address, size: os.pread(fd, size, address))
    finally:
        os.close(fd)


def vm_readv(target: Target) -> set[str]:
    def read(address: int, size: int) -> bytes:
        buffer = ctypes.create_string_buffer(size)
        # struct iovec: address and size
        local, remote = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), size), (ctypes.c_size_t * 2)(address, size)
        got = _libc.process_vm_readv(target.pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
        if got < 0:
            raise _failure("process_vm_readv")
        return buffer.raw[:got]

    read(next(areas(target.pid)).first, 1)  # not allowed at all? then the error tells
    return _scan(target, read)


def ptrace_peek(target: Target) -> set[str]:
    _libc.ptrace.restype = ctypes.c_long
    _libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if _libc.ptrace(PTRACE_ATTACH, target.pid, None, None) < 0:
        raise _failure("ptrace")
    os.waitpid(target.pid, 0)
    found: set[str] = set()
    try:
        for needle in target.needles:
            words = b""
            for offset in range(0, len(needle.plain()) + 8, 8):
                ctypes.set_errno(0)
                word = _libc.ptrace(PTRACE_PEEKDATA, target.pid, (needle.address & ~7) + offset, None)
                if ctypes.get_errno():
                    break
                words += (word & (1 << 64) - 1).to_bytes(8, sys.byteorder)
            if needle.plain() in words:
                found.add(needle.name)
    finally:
        _libc.ptrace(PTRACE_DETACH, target.pid, None, None)
    return found


def pidfd_getfd(target: Target) -> set[str]:
    found: set[str] = set()
    pidfd = _libc.syscall(SYS_PIDFD_OPEN, target.pid, 0)
    if pidfd < 0:
        raise _failure("pidfd_open")
    with ExitStack() as stack:
        stack.callback(os.close, pidfd)
        for name in os.listdir(f"/proc/{target.pid}/fd"):
            fd = _libc.syscall(SYS_PIDFD_GETFD, pidfd, int(name), 0)
            if fd < 0:
                raise _failure("pidfd_getfd")
            stack.callback(os.close, fd)
            try:
                data = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError):
                continue  # a pipe or an empty file
            found |= {needle.name for needle in target.needles if data.find(needle.plain()) >= 0}
            data.close()
    return found


def map_files(target: Target) -> set[str]:
    found: set[str] = set()
    refused = opened = 0
    for entry in Path(f"/proc/{target.pid}/map_files").iterdir():
        try:
            found |= _search_file(entry, target)
            opened += 1
        except PermissionError:
            refused += 1
        except (OSError, ValueError):
            opened += 1  # ENXIO for secret memory, nothing in an empty file
    if refused and not opened:
        raise CannotRun("needs CAP_CHECKPOINT_RESTORE")
    return found


def debugger_dump(target: Target) -> set[str]:
    if not shutil.which("gcore"):
        raise CannotRun("gdb is not installed")
    _allow_everything(target.pid)
    with tempfile.TemporaryDirectory() as folder:
        # Not `gcore -a`: it ignores MADV_DONTDUMP, and writes the whole reservation of secalloc, a file of a tebibyte.
        made = subprocess.run(
            ["gcore", "-o", f"{folder}/core", str(target.pid)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, preexec_fn=_limit_files,
        )  # fmt: skip
        cores = list(Path(folder).iterdir())
        if not cores:
            reason = "gcore: " + (made.stderr.strip().splitlines() or ["no core file"])[-1]
            if "not permitted" in made.stderr:
                raise CannotRun(reason + _yama())
            raise RuntimeError(reason)
        return set[str]().union(*(_search_file(core, target) for core in cores))


def _limit_files() -> None:
    """A dump that grows beyond all measure shall fail, not fill the disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (CORE_BYTES_MAX, CORE_BYTES_MAX))


def _allow_everything(pid: int) -> None:
    """By default a dump leaves out mapped files; a good attacker has them in."""
    Path(f"/proc/{pid}/coredump_filter").write_text(DUMP_EVERYTHING)


def kernel_dump(target: Target) -> set[str]:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if not pattern or pattern.startswith(("|", "/", "@")) or "%" in pattern.replace("%p", ""):
        raise CannotRun(f"core_pattern is {pattern!r}: the dump would go elsewhere")
    _allow_everything(target.pid)
    hard = resource.prlimit(target.pid, resource.RLIMIT_CORE)[1]
    if hard == 0:
        raise CannotRun("the hard limit RLIMIT_CORE is 0")
    resource.prlimit(target.pid, resource.RLIMIT_CORE, (hard, hard))
    folder = Path(f"/proc/{target.pid}/cwd").resolve()
    os.kill(target.pid, signal.SIGABRT)
    while _is_alive(target.pid):  # until the dump is written
        time.sleep(0.01)
    cores = list(folder.glob(pattern.replace("%p", str(target.pid)) + "*"))
    if not cores:
        raise RuntimeError(f"the kernel wrote no core file to {folder}")
    try:
        return set[str]().union(*(_search_file(core, target) for core in cores))
    finally:
        for core in cores:
            core.unlink()


def _is_alive(pid: int) -> bool:
    """False for a zombie: its parent, which need not wait for it yet, is another process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


# The fatal one comes last.
_ALL = (
    Attack("/proc/PID/mem", "read(2) of every readable mapping", proc_mem),
    Attack("process_vm_readv", "process_vm_readv(2) of every readable mapping", vm_readv),
    Attack("ptrace", "PTRACE_PEEKDATA at the very addresses", ptrace_peek),
    Attack("pidfd_getfd", "every descriptor taken over, then mapped", pidfd_getfd),
    Attack("/proc/PID/map_files", "every mapped file opened and read", map_files),
    Attack("gcore", "a core dump by gdb", debugger_dump),
    Attack("kernel core dump", "the dump that the kernel writes at SIGABRT", kernel_dump, fatal=True),
)
ATTACKS: dict[str, Attack] = {attack.name: attack for attack in _ALL}


def attack(name: str, target: Target) -> Outcome:
    """Try one attack. A refusal by the kernel is a reason to skip, never a pass; any other error is a failure."""
    try:
        return Outcome(name, sorted(ATTACKS[name].run(target)))
    except CannotRun as error:
        return Outcome(name, skipped=str(error))
    except OSError as error:
        if error.errno in FORBIDDEN:
            return Outcome(name, skipped=str(error) + _yama())
        return Outcome(name, failed=str(error))
    except Exception as error:  # the other attacks go on
        return Outcome(name, failed=f"{type(error).__name__}: {error}")


def _yama() -> str:
    """The usual reason for a refusal among processes of the same user."""
    try:
        scope = Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip()
    except OSError:
        return ""
    return "" if scope == "0" else f" (kernel.yama.ptrace_scope is {scope})"


def become(uid: int) -> None:
    """Go on as an ordinary user, as if started by it. After the imports: its rights may not reach the interpreter."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    if _libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0:  # a change of user forbids dumps and ptrace
        raise _failure("prctl")


def main() -> None:
    if len(sys.argv) > 1:
        become(int(sys.argv[1]))
    order = Order.from_json(sys.stdin.read())
    json.dump([asdict(attack(name, order.target)) for name in order.attacks], sys.stdout)


if __name__ == "__main__":
    main()
