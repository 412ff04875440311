"""Misuse and how it ends: one small program for each scenario, its signal and its last words asserted.

A scenario is a setup, which must be harmless; a misuse; and a control, the correct use that resembles the misuse. The
program prints "ready" between setup and misuse. The controls of a whole table run in one process, which must live.
"""
import signal
from typing import NamedTuple

import pytest

from support.children import die, succeed

PRELUDE = """
import ctypes, os, resource, secalloc, threading
from secalloc import Heap, SecureBytes
from secalloc_ext.heapobject import DEFAULT as heap, slot_bytes
from support import maps
from support.capi import *
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
"""
SMALL, LARGE = 32, 100_000
SIZES = {"small": SMALL, "large": LARGE}

NOT_OURS = "pointer was not allocated here"
INTERIOR = "pointer into the middle of an object"
FREED = "double free"
OVERFLOW = "overflow"
UNDERFLOW = "underflow"
LATE_WRITE = "write after free"
NOT_GUARDED = "protection of an object that is not guarded"
PHRASES = (NOT_OURS, INTERIOR, FREED, OVERFLOW, UNDERFLOW, LATE_WRITE, NOT_GUARDED)
FAULT = ""  # no word of ours: the kernel ends it


class Scenario(NamedTuple):
    name: str
    setup: str
    misuse: str
    phrase: str
    control: str = ""

    @property
    def signal(self):
        return signal.SIGABRT if self.phrase else signal.SIGSEGV

    @property
    def last_words(self):
        return f"secalloc: {self.phrase}\n" if self.phrase else ""

    def ends(self, *, before="", environment=None):
        """Assert that the misuse ends the process, with these words and no others."""
        program = f"{PRELUDE}\n{before}\n{self.setup}\nprint('ready', flush=True)\n{self.misuse}\n"
        die(program, by=self.signal, phrase=self.last_words, environment=environment)


def for_both_sizes(name, setup, misuse, phrase, control=""):
    """The same for a small object and a large one; ``SIZE`` in the code stands for its size."""
    return [
        Scenario(f"{name}, {which}", *(code.replace("SIZE", str(size)) for code in (setup, misuse)), phrase,
                 control.replace("SIZE", str(size)))
        for which, size in SIZES.items()
    ]  # fmt: skip


def each_of(scenarios):
    """One test for each scenario; no two may be the same."""
    assert len({scenario.name for scenario in scenarios}) == len(scenarios)
    assert len({scenario[1:3] for scenario in scenarios}) == len(scenarios)
    return pytest.mark.parametrize("scenario", scenarios, ids=[scenario.name for scenario in scenarios])


def controls_end_no_process(scenarios, *, before="", environment=None):
    """The positive control: it was the misuse that ended the process, neither its setup nor its like."""
    programs = [(scenario.name, f"{scenario.setup}\n{scenario.control}") for scenario in scenarios]
    succeed(
        f"{PRELUDE}\n{before}\nfor name, program in {programs!r}:\n"
        "    print(name, flush=True)\n    exec(program, dict(globals()))\nassert heap.is_valid()\n",
        environment=environment,
    )
