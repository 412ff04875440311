"""Attacks on another process's memory, as an intruder with the same rights would try them.

Run by `secalloc demo` and by the tests, always from another process than the one attacked. The attacker is told more
than a real one would know: what to look for and at which addresses; and it looks through everything else as well. What
it looks for comes XOR-coded, so that a coded needle is never found for a plain one.

As a program (``python -m secalloc.attacks``) it reads a `Target` as JSON from standard input and writes a list of
`Outcome` to standard output. An argument is the user id to run as.
"""
from __future__ import annotations

import ctypes
import json
import mmap
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["ATTACKS", "Needle", "Outcome", "Target", "attack", "become"]

CHUNK = 1 << 22  # bytes read at once
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


@dataclass
class Outcome:
    """What an attack found, by needle name; or why it could not run."""

    attack: str
    found: list[str] = field(default_factory=list)
    skipped: str | None = None


class CannotRun(Exception):
    """The attack could not be tried; the message says why."""


def _failure(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")


def _readable(pid: int) -> Iterator[tuple[int, int]]:
    """First and last address of each mapping that its process may read."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r\S* ", line)
        if match and not line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
            yield int(match[1], 16), int(match[2], 16)


def _scan(target: Target, read: Callable[[int, int], bytes]) -> set[str]:
    """Look through all readable mappings, and once more at the addresses told.

    `read(address, size)` answers what it could get; OSError for a range that it cannot.
    """
    needles = {needle.name: needle.plain() for needle in target.needles}
    overlap = max(map(len, needles.values())) - 1
    ranges = [(start, end) for first, last in _readable(target.pid) for start, end in _chunks(first, last, overlap)]
    ranges += [(needle.address, needle.address + len(needle.plain())) for needle in target.needles if needle.address]
    found = set()
    for start, end in ranges:
        try:
            data = read(start, end - start)
        except OSError:
            continue
        found |= {name for name, plain in needles.items() if plain in data}
    return found


def _chunks(first: int, last: int, overlap: int) -> Iterator[tuple[int, int]]:
    for start in range(first, last, CHUNK):
        yield start, min(start + CHUNK + overlap, last)


def _search_file(path: Path, target: Target) -> set[str]:
    needles = {needle.name: needle.plain() for needle in target.needles}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return {name for name, plain in needles.items() if data.find(plain) >= 0}


def proc_mem(target: Target) -> set[str]:
    """read(2) of /proc/PID/mem, all readable mappings"""
    fd = os.open(f"/proc/{target.pid}/mem", os.O_RDONLY)
    try:
        return _scan(target, lambda address, size: os.pread(fd, size, address))
    finally:
        os.close(fd)


def vm_readv(target: Target) -> set[str]:
    """process_vm_readv(2), all readable mappings"""

    def read(address: int, size: int) -> bytes:
        buffer = ctypes.create_string_buffer(size)
        # struct iovec: address and size
        local, remote = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), size), (ctypes.c_size_t * 2)(address, size)
        got = _libc.process_vm_readv(target.pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
        if got < 0:
            raise _failure("process_vm_readv")
        return buffer.raw[:got]

    read(next(_readable(target.pid))[0], 1)  # not allowed at all? then say so
    return _scan(target, read)


def ptrace_peek(target: Target) -> set[str]:
    """ptrace(2) peeks at the very addresses"""
    _libc.ptrace.restype = ctypes.c_long
    _libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if _libc.ptrace(PTRACE_ATTACH, target.pid, None, None) < 0:
        raise _failure("ptrace")
    os.waitpid(target.pid, 0)
    found = set()
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
    """pidfd_getfd(2) of every descriptor, then mmap"""
    found = set()
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
    """open(2) and read of each /proc/PID/map_files entry"""
    found = set()
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
        raise CannotRun("the kernel lets only CAP_CHECKPOINT_RESTORE follow these links")
    return found


def core_dump(target: Target) -> set[str]:
    """a core dump (gdb's gcore, else the kernel's own)"""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        if shutil.which("gcore"):
            made = subprocess.run(
                ["gcore", "-o", f"{folder}/core", str(target.pid)],
                capture_output=True, text=True, check=False, preexec_fn=_limit_files,
            )  # fmt: skip
            cores = list(Path(folder).iterdir())
            if not cores:
                raise CannotRun("gcore: " + (made.stderr.strip().splitlines() or ["no core file"])[-1])
        else:
            cores = [_kernel_core(target.pid)]
        return set().union(*(_search_file(core, target) for core in cores))


def _limit_files() -> None:
    """A dump that grows beyond all measure shall fail, not fill the disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (CORE_BYTES_MAX, CORE_BYTES_MAX))


def _kernel_core(pid: int) -> Path:
    """Have the kernel dump the process, which ends it."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")) or "%" in pattern.replace("%p", ""):
        raise CannotRun(f"no gdb, and core_pattern is {pattern!r}, which leads elsewhere")
    folder = Path(f"/proc/{pid}/cwd").resolve()
    resource.prlimit(pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.kill(pid, signal.SIGABRT)
    for _ in range(200):
        cores = list(folder.glob(pattern.replace("%p", "*") + "*"))
        if cores and not Path(f"/proc/{pid}/maps").read_text():  # a zombie: the dump is written
            return cores[0]
        time.sleep(0.1)
    raise CannotRun("no gdb, and the kernel wrote no core file")


# The dump comes last: where gdb is missing, it ends the target.
ATTACKS: dict[str, Callable[[Target], set[str]]] = {
    "/proc/PID/mem": proc_mem,
    "process_vm_readv": vm_readv,
    "ptrace": ptrace_peek,
    "pidfd_getfd": pidfd_getfd,
    "/proc/PID/map_files": map_files,
    "core dump": core_dump,
}


def attack(name: str, target: Target) -> Outcome:
    """Try one attack; a refusal by the kernel is a reason to skip, never a pass."""
    try:
        return Outcome(name, sorted(ATTACKS[name](target)))
    except (CannotRun, OSError) as error:
        return Outcome(name, skipped=str(error))


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
    told = json.load(sys.stdin)
    target = Target(told["pid"], [Needle(**needle) for needle in told["needles"]])
    json.dump([asdict(attack(name, target)) for name in ATTACKS], sys.stdout)


if __name__ == "__main__":
    main()
