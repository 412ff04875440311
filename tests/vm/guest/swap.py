"""Step e: memory pressure, until the holders' ordinary objects are in swap. What is in the swap area is for the host to
look at, in its image file, once the machine is off: nothing that was ever written to it is gone by then.
"""
from __future__ import annotations

import ctypes
import mmap
import os
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from vm.guest.holding import Holder
from vm.guest.memory import is_secret
from vm.guest.telling import Teller

__all__ = ["DEVICE", "activate", "available", "step"]

DEVICE = "/dev/nvme0n1"
HEADER_BYTES = 1024  # of a swap area's first page, before its description
STEP_BYTES = 1 << 24
LIMIT_S = 120

_libc = ctypes.CDLL(None, use_errno=True)


def activate() -> None:
    """Make the whole device a swap area, as mkswap(8) does: see union swap_header of Linux's include/linux/swap.h."""
    with open(DEVICE, "r+b", buffering=0) as device:
        pages = device.seek(0, os.SEEK_END) // mmap.PAGESIZE
        head = bytearray(mmap.PAGESIZE)
        struct.pack_into("<III", head, HEADER_BYTES, 1, pages - 1, 0)  # version, last page, bad pages
        head[-10:] = b"SWAPSPACE2"
        device.seek(0)
        device.write(head)
        os.fsync(device.fileno())
    if _libc.swapon(DEVICE.encode(), 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"swapon: {os.strerror(code)}")


def available() -> int:
    """Bytes of memory that can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("/proc/meminfo has no MemAvailable")


def used() -> int:
    return sum(int(line.split()[3]) << 10 for line in Path("/proc/swaps").read_text().splitlines()[1:])


def ballast() -> None:
    """The program that presses: for each byte of its standard input it takes a step of memory, and says so."""
    taken = []
    while os.read(0, 1):
        part = mmap.mmap(-1, STEP_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for at in range(0, STEP_BYTES, mmap.PAGESIZE):
            part[at : at + 8] = os.urandom(8)  # pages of their own content each
        taken.append(part)
        os.write(1, b".")


def is_out(holders: Sequence[Holder]) -> bool:
    """Whether all that is ordinary is in swap."""
    places = [holder.place_of(each.address) for holder in holders for each in holder.needles
              if each.address and not is_secret(each)]  # fmt: skip
    return all(place.swapped for place in places)


def press(holders: Sequence[Holder]) -> int:
    """Bytes of ballast it took; the ballast is gone again."""
    Path("/proc/sys/vm/swappiness").write_text("100")
    steps, until = 0, time.monotonic() + LIMIT_S
    with subprocess.Popen(
        [sys.executable, "-P", "-c", "from vm.guest.swap import ballast; ballast()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            while not is_out(holders) and time.monotonic() < until:
                child.stdin.write(b".")
                if not child.stdout.read(1):
                    raise RuntimeError(f"the ballast ended with {child.wait()} after {steps} steps")
                steps += 1
        finally:
            child.kill()
    return steps * STEP_BYTES


def step(teller: Teller, holders: Sequence[Holder]) -> None:
    teller.measured("swap: bytes of ballast", press(holders))
    teller.measured("swap: bytes in use", used())
    count = dict.fromkeys(("ordinary", "ordinary out", "secret", "secret out"), 0)
    for holder in holders:
        for needle in holder.needles:
            if needle.address:
                word = "secret" if is_secret(needle) else "ordinary"
                count[word] += 1
                count[f"{word} out"] += holder.place_of(needle.address).swapped
    teller.measured("swap: pages", count)
    # Coded, and without the addresses: the host looks for them in the image.
    for holder in holders:
        teller.needles("swap", holder.needles)
    teller.measured("swap: holders have all in place", all(holder.in_place() for holder in holders))
