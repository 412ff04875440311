"""Step g: a heap locked by a protection key, which this machine's processor has.

Each access is tried in a process of its own, which tells what came of it, or dies.
"""
from __future__ import annotations

import ctypes
import errno
import os
import threading
from pathlib import Path

from secalloc import Heap, SecureBytes
from secalloc.check import findings
from secalloc.holder import address_of
from vm.guest.telling import Teller
from vm.guest.trials import outcome

__all__ = ["step"]

SIZE = 32
VALUE = 7


def _locked() -> tuple[Heap, int]:
    heap = Heap("locked")
    key = SecureBytes(bytes([VALUE]) * SIZE, heap=heap)
    address = address_of(key)
    heap.lock()
    _kept.append(key)
    return heap, address


_kept: list[SecureBytes] = []


def _byte_at(address: int) -> int:
    return int.from_bytes(ctypes.string_at(address, 1), "little")


def _write(address: int) -> str:
    """write(2) of the object into a pipe, by the address: SecureBytes itself would refuse first."""
    reader, writer = os.pipe()
    libc = ctypes.CDLL(None, use_errno=True)
    got = libc.write(writer, ctypes.c_void_p(address), ctypes.c_size_t(SIZE))
    if got < 0:
        return errno.errorcode[ctypes.get_errno()]
    return f"{got} bytes: {set(os.read(reader, SIZE))}"


def _in_thread(address: int) -> None:
    thread = threading.Thread(target=_byte_at, args=(address,))
    thread.start()
    thread.join()


def read_here() -> str:
    return str(_byte_at(_locked()[1]))


def read_in_thread() -> str:
    _in_thread(_locked()[1])
    return "read"


def read_in_older_thread_beside_a_block() -> str:
    heap, address = _locked()
    go, done = threading.Event(), threading.Event()

    def read() -> None:
        go.wait()
        _byte_at(address)
        done.set()

    threading.Thread(target=read).start()
    with heap.unlocked():
        go.set()
        done.wait()
    return "read"


def read_in_thread_started_in_a_block() -> str:
    """A new thread has the rights of the one that starts it: the processor's register is copied."""
    heap, address = _locked()
    with heap.unlocked():
        _in_thread(address)
    return "read"


def write_out() -> str:
    return _write(_locked()[1])


def read_in_block() -> str:
    heap, address = _locked()
    with heap.unlocked():
        return f"{_byte_at(address)}, {_write(address)}"


def read_unlocked() -> str:
    heap, address = _locked()
    heap.unlock()
    return f"{_byte_at(address)}, {_write(address)}"


READABLE = f"{VALUE}, {SIZE} bytes: {{{VALUE}}}"
TRIALS = {
    "read while locked": read_here,
    "read by another thread while locked": read_in_thread,
    "read by an older thread beside a block": read_in_older_thread_beside_a_block,
    "read by a thread started in a block": read_in_thread_started_in_a_block,
    "write(2) while locked": write_out,
    "read and write(2) in a block": read_in_block,
    "read and write(2) once unlocked": read_unlocked,
}


def step(teller: Teller) -> None:
    if "ospke" not in Path("/proc/cpuinfo").read_text().split():
        for name in ("", ": secalloc check", *(f": {name}" for name in TRIALS)):
            teller.lacking(f"protection key{name}", "the kernel uses no protection keys on this processor")
        return
    (finding,) = [each for each in findings() if each.name == "protection keys"]
    teller.measured("protection key: secalloc check", f"{finding.state}: {finding.value}")
    heap, address = _locked()
    kept = [line for line in _mapping_of(address) if line.startswith("ProtectionKey:")]
    told = heap.stats().protection_key
    teller.measured("protection key", {"stats": bool(told), "kernel": kept == [f"ProtectionKey: {told:9}"]})
    heap.unlock()
    _kept.clear()
    heap.trim()  # else the kernel will not hibernate
    for name, trial in TRIALS.items():
        teller.measured(f"protection key: {name}", outcome(trial))


def _mapping_of(address: int) -> list[str]:
    """The lines of /proc/self/smaps about the mapping that has this address."""
    found: list[str] = []
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()[0]
        if not head.endswith(":"):
            first, _, end = head.partition("-")
            inside = int(first, 16) <= address < int(end, 16)
        elif inside:
            found.append(line)
    return found

