"""Hammers the heap for a given time, and checks that nothing grows: ``python tests/soak.py [SECONDS]``.

A process for each setting, one after the other. The time bounds how much is done; nothing is asserted about speed.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time

from support import capi, maps
from support.compiler import shared_library
from support.footprint import resident
from support.hammer import Plan, functions, load

import secalloc
from secalloc_ext.heapobject import DEFAULT

SETTINGS = (("isolate", "fast"), ("copy", "full"))  # on_fork, hardening
WARM_UP = 6  # batches, of each kind one, in which libc's own memory finds its size
SLACK = {"resident bytes": 32 << 20}  # libc gives memory back as it pleases, and so does a sanitizer


def batch(hammer, number, copies):
    """A second or so of work, other work each time; answers how much it was."""
    small = number % 2
    plan = Plan(threads=2 + number % 3 * 3, lives=3, rounds=8_000 if small else 1_500, small=small,
                forks=8 if copies else 30, copies=copies, seed=number)  # fmt: skip
    broken = hammer(functions(), plan)
    if broken:
        sys.exit(f"soak: {broken} contracts broken in batch {number}")
    return plan.operations


def figures():
    """What may not grow, but for SLACK. Other mappings than these are libc's, and a sanitizer's."""
    every = maps.mappings()
    return {
        "mappings in the reservation": sum(capi.owns(mapping.start) for mapping in every),
        "secret mappings": sum(mapping.is_secret for mapping in every),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "resident bytes": resident(),
    }


def check_heap(number):
    stats = DEFAULT.stats()
    if stats.live or not DEFAULT.is_valid():
        sys.exit(f"soak: after batch {number} {stats.live} objects live, valid: {DEFAULT.is_valid()}")
    DEFAULT.trim()
    if DEFAULT.stats().committed:
        sys.exit(f"soak: after batch {number} and trim {DEFAULT.stats().committed} bytes are committed")


def soak(library, seconds, on_fork, hardening):
    secalloc.configure(on_fork=on_fork, hardening=hardening)
    hammer = load(library)
    end = time.monotonic() + seconds
    most = {}
    operations = batches = 0
    while batches <= WARM_UP or time.monotonic() < end:
        operations += batch(hammer, batches, on_fork == "copy")
        check_heap(batches)
        batches += 1
        now = figures()
        if batches <= WARM_UP:
            most = {name: max(most.get(name, 0), now[name]) for name in now}
            continue
        grown = [f"{name}: {most[name]} to {now[name]}" for name in now if now[name] > most[name] + SLACK.get(name, 0)]
        if grown:
            sys.exit(f"soak: grown by batch {batches}: {', '.join(grown)}")
    print(f"{operations} operations in {batches} batches ({on_fork}, {hardening}): heap valid and empty, nothing grown")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=60)
    parser.add_argument("--part", nargs=3, metavar=("LIBRARY", "ON_FORK", "HARDENING"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        soak(arguments.part[0], arguments.seconds, *arguments.part[1:])
        return
    with tempfile.TemporaryDirectory() as folder:
        library = shared_library("hammer", folder)
        for setting in SETTINGS:
            part = [str(arguments.seconds / len(SETTINGS)), "--part", str(library), *setting]
            done = subprocess.run([sys.executable, __file__, *part])
            if done.returncode != 0:
                sys.exit(f"soak: FAILED ({', '.join(setting)}), status {done.returncode}")
    print("soak: passed")


if __name__ == "__main__":
    main()
