"""How many secrets fit into the memlock limit: each peer in a process of its own, filled until it gives no more.

What counts is an object on a locked page: libsodium goes on without locking where the limit is reached.
"""
from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from bisect import bisect_right
from dataclasses import asdict, dataclass
from itertools import takewhile

from secalloc.attacks import become
from secalloc.locked import locked_bytes, locked_ranges
from secalloc.peers import Absent, find_peer
from secalloc_ext.loops import Peer

__all__ = ["CONTESTANTS", "SECRET_BYTES", "Density", "measure"]

CONTESTANTS = ("secalloc", "OpenSSL secure heap", "libgcrypt", "libsodium", "one memfd_secret each")
SECRET_BYTES = 32
ORDINARY_UID = 65534  # nobody
SECONDS_MAX = 600     # libgcrypt's pool takes the longer the fuller it is


@dataclass(frozen=True)
class Density:
    """`locked`: bytes that the kernel counted when it was full."""

    name: str
    secrets: int
    locked: int
    memlock: int


def measure(name: str, memlock: int) -> Density | Absent:
    """Fill a peer as an ordinary user with a limit of `memlock` bytes: as nobody, where this is root."""
    uid = ORDINARY_UID if os.geteuid() == 0 else -1
    command = [sys.executable, "-P", "-m", "secalloc.density", name, str(memlock), str(uid)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return Absent(name, f"not full after {SECONDS_MAX} seconds")
    if done.returncode != 0:
        return Absent(name, (done.stderr.strip() or f"ended with {done.returncode}").splitlines()[-1])
    return Density(**json.loads(done.stdout))


def on_locked_pages(pointers: list[int]) -> int:
    """How many of the pointers are to locked memory."""
    ranges = locked_ranges()
    starts = [each.start for each in ranges]
    around = ((bisect_right(starts, pointer) - 1, pointer) for pointer in pointers)
    return sum(i >= 0 and pointer < ranges[i].end for i, pointer in around)


def fill(peer: Peer, memlock: int) -> int:
    """Make objects until there are no more, or the newest are not locked; answers how many are."""
    pointers: list[int] = []
    step = 256  # then in doublings: to look at all mappings takes as long as there are many
    while True:
        fresh = list(takewhile(bool, (peer.make(SECRET_BYTES) for _ in range(step))))
        pointers += fresh
        if locked_bytes() > memlock:  # CAP_IPC_LOCK, or a kernel that does not count
            raise SystemExit(f"the limit of {memlock} bytes does not hold here: {locked_bytes()} are locked")
        if len(fresh) < step or not on_locked_pages(fresh[-1:]):
            return on_locked_pages(pointers)
        step = len(pointers)


def main(name: str, memlock: int, uid: int) -> None:
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (memlock, memlock))
    if uid >= 0:
        become(uid)
    found = find_peer(name, pool=memlock)
    if isinstance(found, Absent):
        raise SystemExit(found.reason)
    result = Density(name, fill(found.peer, memlock), locked_bytes(), memlock)
    if result.secrets == 0:
        raise SystemExit(f"it locked nothing within {memlock} bytes")
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
