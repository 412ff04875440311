"""Leak scans: what a program has of its secrets in ordinary memory, as another process sees it.

In a program, `scan` has its own memory searched for the secrets it is given; in tests, the fixture ``leak_scan`` does;
``secalloc leaks -- COMMAND`` feeds any program a secret made for it, and searches its memory when it ends. Where
something is found is told, never what. Each scan has a control, a second secret with an ordinary copy, which must be
found.

A secret is looked for in parts, in the forms that programs give it: as it is, in base64 and hex, in the wider kinds
of str, as the digits of an int. What is encrypted, compressed or split into single characters is not found.

As a program (``python -m secalloc.leaks PID``) it is the one that looks: needles come as JSON on standard input.
"""
from __future__ import annotations

import base64
import ctypes
import json
import os
import secrets
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from secalloc import SecallocError, SecureBytes
from secalloc.attacks import Needle
from secalloc.holder import ALPHABET, address_of, needle_of
from secalloc.scan import Hit, Wanted, fragments

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Blind", "Ended", "Leak", "LeakScan", "control", "forms", "letters", "limbs", "marker", "program", "run_program",
    "scan", "scan_process",
]  # fmt: skip

PART_BYTES = 12     # that lie together, of a secret or of a form of it
WIDE = {"UTF-16": 2, "UTF-32": 4}  # bytes for each
SECRET_BYTES_MIN = 16
SECRET_BYTES_MAX = 4096  # of a longer one, so many are looked for
PR_SET_PTRACER = 0x59616D61

_libc = ctypes.CDLL(None, use_errno=True)


class Blind(SecallocError):
    """The scan did not find the copy that was there for it: it shows nothing."""


@dataclass(frozen=True)
class Leak:
    """Copies, or parts of copies, that were found.

    `secret`: which of those looked for, from 0 on; `form`: see `forms`; `area`: "heap" of malloc, "stack", "anonymous"
    mappings, which are Python's objects and big blocks, or the name of a file; `parts`: how many places.
    """

    secret: int
    form: str
    area: str
    parts: int


def marker(size: int = 32, heap: Any = None) -> SecureBytes:
    """Random letters on secret pages, as a secret that is text: of 6 bits each."""
    key = SecureBytes.random(size, heap=heap)
    for i in range(size):
        key[i] = ALPHABET[key[i] & 63]
    return key


def forms(secret: bytes) -> dict[str, bytes]:
    """What a secret may look like in memory, by the form's name."""
    text = secret.decode("latin-1")
    digits = secret.hex()
    found = {"itself": secret, "backwards": secret[::-1], "hex": digits.encode(), "HEX": digits.upper().encode(),
             "UTF-16": text.encode("utf-16-le"), "UTF-32": text.encode("utf-32-le")}  # fmt: skip
    for shift in range(3):  # base64 of it depends on where it begins
        found[f"base64 +{shift}"] = base64.b64encode(bytes(shift) + secret)[4 * bool(shift) : -4]
    for order, ordered in (("big", secret), ("little", secret[::-1])):
        found[f"int, {order}-endian"] = limbs(int.from_bytes(ordered, "big"))
    return found


def limbs(number: int) -> bytes:
    """An int's digits of 30 bits, as they lie in memory."""
    found: list[int] = []
    while number:
        found.append(number & (1 << 30) - 1)
        number >>= 30
    return struct.pack(f"<{len(found)}I", *found)


def _area(name: str) -> str:
    return name.strip("[]").rpartition("/")[2] or "anonymous"


def _found(pid: int, wanted: Iterable[bytes], is_own: Callable[[Hit], bool]) -> list[Leak]:
    """Look through a process; in this one, which must be another. What `is_own` is where it belongs."""
    secrets_ = list(wanted)
    named = [Wanted(f"{i}/{form}", data, PART_BYTES * WIDE.get(form, 1))
             for i, secret in enumerate(secrets_) for form, data in forms(secret).items()]  # fmt: skip
    counts: Counter[tuple[int, str, str]] = Counter()
    for hit in fragments(pid, named):
        if not is_own(hit):
            index, _, form = hit.needle.partition("/")
            counts[int(index), form, _area(hit.area)] += 1
    return [Leak(*place, parts) for place, parts in sorted(counts.items())]


def scan_process(pid: int, *wanted: bytes) -> list[Leak]:
    """What another process has of some secrets, which this one may know.

    Raises
    ------
    OSError : its memory cannot be read
    ValueError : a secret is shorter than 16 bytes, or always the same byte
    """
    _check(wanted)
    return _found(pid, wanted, lambda hit: False)


def _check(wanted: Iterable[Buffer]) -> None:
    for secret in wanted:
        if memoryview(secret).nbytes < SECRET_BYTES_MIN:
            raise ValueError(f"fewer than {SECRET_BYTES_MIN} bytes would be found by chance")


def scan(*wanted: Buffer) -> list[Leak]:
    """What this process has of its secrets, besides where they are: every place in its ordinary memory.

    Other threads go on meanwhile. Takes about a tenth of a second.

    Parameters
    ----------
    wanted : the secrets, as `SecureBytes` or other writable buffers of 16 bytes or more; of long ones, the first 4 KiB

    Raises
    ------
    Blind : a copy left on purpose was not found
    OSError : another process may not read this one's memory: see ptrace(2), and prctl(2), PR_SET_DUMPABLE
    ValueError : a secret is too short
    """
    _check(wanted)
    views = [memoryview(secret).cast("B")[:SECRET_BYTES_MAX] for secret in wanted]
    control, copy = marker(), bytearray(32)
    copy[:] = control
    needles = [needle_of(str(i), view, address_of(view)) for i, view in enumerate([*views, memoryview(control)])]
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "secalloc.leaks", str(os.getpid())], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as scanner:  # fmt: skip
        _libc.prctl(PR_SET_PTRACER, ctypes.c_ulong(scanner.pid), 0, 0, 0)  # where Yama lets only ancestors look
        told = scanner.communicate(json.dumps([asdict(needle) for needle in needles]).encode())[0]
    if scanner.returncode != 0:
        raise OSError("the scanner ended with an error")
    answer = json.loads(told)
    if "error" in answer:
        raise OSError(answer["error"], f"this process's memory cannot be read: {os.strerror(answer['error'])}")
    found = [Leak(**leak) for leak in answer["leaks"]]
    copy[:] = bytes(len(copy))
    if not any(leak.secret == len(views) and leak.form == "itself" for leak in found):
        raise Blind("the control was not found: a leak would not have been either")
    return [leak for leak in found if leak.secret != len(views)]


class LeakScan:
    """The fixture ``leak_scan``: ``secret = leak_scan.marker()``, use it, ``assert leak_scan(secret) == []``."""

    @staticmethod
    def marker(size: int = 32) -> SecureBytes:
        """A secret made for this test: random letters on secret pages."""
        return marker(size)

    def __call__(self, *wanted: Buffer) -> list[Leak]:
        """See `scan`."""
        return scan(*wanted)


# --- any program ---

SYS_TRACEME, SYS_CONT, SYS_SETOPTIONS = 0, 7, 0x4200
OPTION_EXEC, OPTION_EXIT, OPTION_KILL = 1 << 4, 1 << 6, 1 << 20
EVENT_EXIT = 6


@dataclass(frozen=True)
class Ended:
    """How a program ended, and what it had of its secret when it did."""

    status: int
    leaks: list[Leak]


def _traced(request: int, pid: int, data: int = 0) -> None:
    _libc.ptrace.restype = ctypes.c_long
    _libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if _libc.ptrace(request, pid, None, data) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"ptrace: {os.strerror(code)}")


def run_program(
    command: list[str], *, environment: Mapping[str, str], standard_input: bytes | None, secret: bytes
) -> Ended:
    """Run a program to its end, and look through its memory just before that is gone: at its exit(2).

    Raises
    ------
    OSError : it cannot be run, or not be traced
    """
    program = subprocess.Popen(
        command, env=dict(environment), stdin=None if standard_input is None else subprocess.PIPE,
        preexec_fn=lambda: _traced(SYS_TRACEME, 0),
    )  # fmt: skip
    leaks: list[Leak] = []
    is_set = False
    while True:
        _, status = os.waitpid(program.pid, 0)
        if not os.WIFSTOPPED(status):
            break
        signal, event = os.WSTOPSIG(status), status >> 16
        if not is_set:  # stopped by the trap of its execve(2)
            _traced(SYS_SETOPTIONS, program.pid, OPTION_EXIT | OPTION_EXEC | OPTION_KILL)
            is_set = True
            if program.stdin is not None:
                program.stdin.write(standard_input or b"")
                program.stdin.close()
            signal = 0
        elif event:
            if event == EVENT_EXIT:
                leaks = scan_process(program.pid, secret)
            signal = 0
        _traced(SYS_CONT, program.pid, signal)
    program.returncode = os.waitstatus_to_exitcode(status)
    return Ended(program.returncode, leaks)


def letters(size: int = 32) -> bytes:
    """A secret for another program."""
    return bytes(secrets.choice(ALPHABET) for _ in range(size))


def control() -> None:
    """See whether a copy that a program keeps is found.

    Raises
    ------
    Blind : it is not
    """
    secret = letters()
    code = "import os, sys; kept = sys.stdin.buffer.read(); os._exit(len(kept) and 0)"
    ended = run_program([sys.executable, "-c", code], environment=os.environ, standard_input=secret, secret=secret)
    if not any(leak.form == "itself" for leak in ended.leaks):
        raise Blind("the control was not found: a leak would not have been either")


def program(command: list[str], *, by: str, name: str) -> Ended:
    """Run a program that gets a fresh secret: `by` is "stdin", "env" (the variable `name`) or "file" (whose path is
    in the variable `name`, and stands for ``{}`` in the command)."""
    secret = letters()
    environment, standard_input = dict(os.environ), None
    fd = os.memfd_create("secret")
    try:
        if by == "stdin":
            standard_input = secret + b"\n"
        elif by == "env":
            environment[name] = secret.decode()
        else:
            os.write(fd, secret)
            path = f"/proc/{os.getpid()}/fd/{fd}"
            environment[name] = path
            command = [part.replace("{}", path) for part in command]
        return run_program(command, environment=environment, standard_input=standard_input, secret=secret)
    finally:
        os.close(fd)


def _main(pid: int) -> None:
    needles = [Needle(**told) for told in json.load(sys.stdin)]
    homes = [(needle.address, needle.address + len(needle.pad) // 2) for needle in needles]

    def is_own(hit: Hit) -> bool:
        return any(first <= hit.address < end for first, end in homes)

    try:
        leaks = _found(pid, [needle.plain() for needle in needles], is_own)
    except OSError as error:
        print(json.dumps({"error": error.errno}))
    else:
        print(json.dumps({"leaks": [asdict(leak) for leak in leaks]}))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
