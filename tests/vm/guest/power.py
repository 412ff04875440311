"""Step f: hibernation. While anybody has secret memory mapped the kernel has it not: neither in the list of states nor
by request. Where nobody has, it is there again; and what it then writes to disk is for the host to look at.
"""
from __future__ import annotations

import errno
import os
from pathlib import Path

from secalloc import Heap, SecureBytes
from secalloc.check import findings
from secalloc.holder import address_of, needle_of
from vm.guest.telling import Teller

__all__ = ["hibernate", "is_offered", "tell_lack", "tell_refusal", "tell_state", "tell_trimmed"]

STATE, MODE = Path("/sys/power/state"), Path("/sys/power/disk")
MARKER_BYTES = 4096


MOMENTS = NO_SECRET, LIVE, KILLED = "no secret", "secrets live", "holders killed"


def tell_lack(teller: Teller) -> None:
    """Of a kernel that has no hibernation even where there is no secret."""
    names = [f"hibernation, {moment}: {what}" for moment in MOMENTS for what in ("offered", "secalloc check")]
    for name in (*names, "hibernation asked for", "hibernation and Heap.trim()", "hibernation: markers on the disk"):
        teller.lacking(name, "the kernel offers no hibernation")


def is_offered() -> bool:
    return "disk" in STATE.read_text().split()


def tell_state(teller: Teller, moment: str) -> None:
    """What the kernel offers, and what `secalloc check` makes of it."""
    teller.measured(f"hibernation, {moment}: offered", is_offered())
    (finding,) = [each for each in findings() if each.name == "hibernation"]
    teller.measured(f"hibernation, {moment}: secalloc check", f"{finding.state}: {finding.value}")


def tell_refusal(teller: Teller) -> None:
    """What comes of asking for it although a secret lives."""
    try:
        STATE.write_text("disk")
    except OSError as error:
        teller.measured("hibernation asked for", errno.errorcode[error.errno or 0])
    else:
        teller.measured("hibernation asked for", "done")


def tell_trimmed(teller: Teller) -> None:
    """A secret in this process, dropped, its pages kept by the heap; then without them."""
    heap = Heap("hibernation")
    key = SecureBytes.random(32, heap=heap)
    states = {"secret": is_offered()}
    del key
    states["dropped"] = is_offered()
    heap.trim()
    states["trimmed"] = is_offered()
    teller.measured("hibernation and Heap.trim()", states)


def hibernate(teller: Teller) -> None:
    """Write all memory to the swap area, and switch the machine off: it does not come back from here.

    Of what is looked for one was a secret, dropped and trimmed before: as long as it lives the kernel refuses.
    """
    heap = Heap("hibernation")
    key = SecureBytes.random(MARKER_BYTES, heap=heap)
    ordinary = os.urandom(MARKER_BYTES)
    needles = [needle_of("secret", memoryview(key), address_of(key)), needle_of("ordinary", ordinary, 0)]
    teller.needles("hibernation", needles)
    del key
    heap.trim()
    MODE.write_text("shutdown")
    teller.end()  # what comes of it is for the host to see, on the disk
    STATE.write_text("disk")
