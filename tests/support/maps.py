"""The process's mappings, as the kernel tells them."""
import os
from bisect import bisect_right
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

PAGE_BYTES = 4096
MLOCK_FLAGS = {"lo", "dd", "dc"}  # locked, left out of core dumps, not for forked children


class Mapping(NamedTuple):
    start: int
    end: int
    access: str  # as "rw-s"
    name: str
    flags: frozenset[str] = frozenset()  # the VmFlags, two letters each

    @property
    def backend(self):
        """Whose pages these are, by nothing but what the kernel says; None for memory that is not the core's."""
        if "secretmem" in self.name:
            return "secretmem"
        return "mlock" if not self.name and self.flags >= MLOCK_FLAGS else None

    @property
    def is_secret(self):
        return self.backend is not None

    @property
    def is_closed(self):
        return self.access.startswith("---")


def mappings(pid="self"):
    """All of them. The kernel gives a page of text at a time: one that grows meanwhile comes twice; then once more."""
    while True:
        result = read_mappings(pid)
        if all(one.end <= following.start for one, following in pairwise(result)):
            return result


def read_mappings(pid):
    result = []
    with open(f"/proc/{pid}/smaps") as lines:
        for line in lines:
            if line.startswith("VmFlags:"):
                result[-1] = result[-1]._replace(flags=frozenset(line.split()[1:]))
            elif not line[0].isupper():  # no field: another mapping begins
                span, access, _, _, _, *name = line.split(maxsplit=5)
                start, end = (int(part, 16) for part in span.split("-"))
                result.append(Mapping(start, end, access, name[0].strip() if name else ""))
    return result


def mapping_count():
    """How many there are; leaves nothing behind that would itself need one."""
    with open("/proc/self/maps") as lines:
        return sum(1 for _ in lines)


def secret_mappings(pid="self"):
    return [mapping for mapping in mappings(pid) if mapping.is_secret]


def mapping_at(address):
    """The mapping around an address; None in a hole."""
    every = mappings()
    i = bisect_right(every, address, key=lambda mapping: mapping.start) - 1
    return every[i] if i >= 0 and address < every[i].end else None


def backend_at(address):
    """The backend of the page at an address; None where that is not the core's. Its name in `maps` is often enough: for
    `smaps`, which has the flags as well, the kernel looks at every page."""
    with open("/proc/self/maps") as lines:
        for line in lines:
            span, _, rest = line.partition(" ")
            start, end = (int(part, 16) for part in span.split("-"))
            if start <= address < end and "secretmem" in rest:
                return "secretmem"
    around = mapping_at(address)
    return around and around.backend


def gaps():
    """Where address space begins in which nothing is mapped."""
    return [one.end for one, following in pairwise(mappings()) if one.end != following.start]


def detail_at(address, field):
    """The words of one field of smaps(5) for the mapping around an address; none where it is not there."""
    inside = False
    with open("/proc/self/smaps") as lines:
        for line in lines:
            first, *words = line.split()
            if "-" in first:
                start, end = (int(part, 16) for part in first.split("-"))
                inside = start <= address < end
            elif inside and first == field + ":":
                return words
    return []


def flags_at(address):
    """The VmFlags of the mapping around an address, as a set of two-letter words."""
    return mapping_at(address).flags


def protection_key_at(address):
    return int(detail_at(address, "ProtectionKey")[0])


def descriptors(pid="self"):
    """The open descriptors, but for those that are closed meanwhile, as the one that lists them."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


def address_space():
    """Bytes of address space in use: what RLIMIT_AS counts."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * PAGE_BYTES
