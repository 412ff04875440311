"""Steps a to d: where ordinary and secret objects are found in physical memory, while they live and afterwards."""
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from secalloc.attacks import Needle, kcore
from secalloc.holder import needle_of
from vm.guest.holding import Holder
from vm.guest.lookthrough import Looked, look
from vm.guest.search import WORD
from vm.guest.telling import Teller

__all__ = ["is_secret", "step"]


def is_secret(needle: Needle) -> bool:
    return needle.name.startswith("secret ") and needle.name != "secret beside"


def names(needles: Sequence[Needle], *, secret: bool) -> set[str]:
    return {each.name for each in needles if is_secret(each) == secret}


def tell_found(teller: Teller, moment: str, needles: Sequence[Needle], looked: Looked) -> None:
    """How many of either kind are found, and of which the secret parts are."""
    for word, secret in (("ordinary", False), ("secret", True)):
        asked = names(needles, secret=secret)
        found = sorted(asked & looked.names())
        teller.measured(f"{moment}: {word} markers", {"of": len(asked), "found": len(found), "names": found})
        for kind in kcore.MAPPINGS:
            places = [each for each in looked.found if each.kind == kind and each.needle in asked]
            told = [f"{each.needle}: {each.words} words at {each.physical:#x}" for each in places] if secret else []
            teller.measured(f"{moment}: places of {word} markers in the {kind}", {"count": len(places), "places": told})


def tell_frames(teller: Teller, holders: Sequence[Holder], looked: Looked) -> None:
    """Each object at the very physical address that its process's page table has."""
    fd = os.open(kcore.PATH, os.O_RDONLY)
    some = kcore.segments(fd)
    at_place = {(each.needle, each.physical) for each in looked.found if each.kind == kcore.DIRECT}
    count = dict.fromkeys(("ordinary", "ordinary found", "secret", "secret found", "secret zeros",
                           "secret seen in the image", "no frame"), 0)  # fmt: skip
    for holder in holders:
        for needle in holder.needles:
            if not needle.address:
                continue
            physical = holder.place_of(needle.address).physical
            if physical is None:
                count["no frame"] += 1
                continue
            word = "secret" if is_secret(needle) else "ordinary"
            count[word] += 1
            count[f"{word} found"] += (needle.name, physical) in at_place
            if word == "secret":
                shown = kcore.read_at(fd, some, physical, len(needle.pad) // 2)
                count["secret zeros"] += kcore.DIRECT in shown and not any(shown[kcore.DIRECT])
                count["secret seen in the image"] += any(shown.get(kcore.IMAGE, b""))
    os.close(fd)
    teller.measured("frames", count)


def tell_reach(teller: Teller, looked: Looked) -> None:
    """How much was looked at; and that the kernel image was really read: its own words are in it."""
    banner = Path("/proc/version").read_bytes().strip()
    words = look([needle_of("banner", banner, 0)]).found
    teller.measured("kernel's words in the kernel image", any(
        each.kind == kcore.IMAGE and each.words >= len(banner) // WORD - 1 for each in words))
    for kind in kcore.MAPPINGS:
        teller.measured(f"bytes read of the {kind}", looked.read.get(kind, 0))
        teller.measured(f"segments of the {kind}", looked.segments.get(kind, 0))


def step(teller: Teller, holders: Sequence[Holder]) -> None:
    needles = [needle for holder in holders for needle in holder.needles]
    teller.measured("holders have all in place", all(holder.in_place() for holder in holders))
    looked = look(needles)
    tell_reach(teller, looked)
    tell_found(teller, "live", needles, looked)
    tell_frames(teller, holders, looked)
    teller.measured("holders still have all in place", all(holder.in_place() for holder in holders))
    for holder in holders:
        holder.kill()
    tell_found(teller, "killed", needles, look(needles))
