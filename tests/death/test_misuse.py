"""Every misuse ends the process: one small program for each scenario, its signal and its last words asserted.

A scenario is a setup, which must be harmless, and a misuse. The program prints "ready" between the two.
"""
import signal
from typing import NamedTuple

import pytest
from support.children import die, succeed

PRELUDE = """
import ctypes, resource
from secalloc_ext.heapobject import DEFAULT as heap
from support import maps
from support.capi import *
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
"""
SMALL, LARGE = 32, 100_000
SIZES = {"small": SMALL, "large": LARGE}
NOT_OURS, INTERIOR, FREED, OVERFLOW, LATE_WRITE = (
    "pointer was not allocated here", "pointer into the middle of an object", "double free", "overflow",
    "write after free")  # fmt: skip


class Scenario(NamedTuple):
    name: str
    setup: str
    misuse: str
    phrase: str = ""  # none: the kernel ends it by SIGSEGV

    @property
    def signal(self):
        return signal.SIGABRT if self.phrase else signal.SIGSEGV

    @property
    def last_words(self):
        return f"secalloc: {self.phrase}\n" if self.phrase else ""


def for_both_sizes(name, setup, misuse, phrase=""):
    return [Scenario(f"{name}, {which}", setup.format(size), misuse, phrase) for which, size in SIZES.items()]


LIVE = "p = malloc({})"
FREED_ONE = "p = malloc({}); free(p)"
EDGES = "p = malloc({}); page = maps.mapping_at(p)"

FREED_TWICE = [
    *for_both_sizes("free twice at once", FREED_ONE, "free(p)", FREED),
    *for_both_sizes(
        "free twice after other frees",
        "many = [malloc({}) for _ in range(20)]; p = many[10]; [free(each) for each in many]", "free(p)", FREED),
    *for_both_sizes("free twice while others live", "many = [malloc({}) for _ in range(9)]; p = many[4]; free(p)",
                    "free(p)", FREED),
    *for_both_sizes("free twice after the pages went back", FREED_ONE + "; heap.trim()", "free(p)", NOT_OURS),
    *for_both_sizes("free after realloc moved it", "p = malloc({}); q = realloc(p, 500_000)", "free(p)", FREED),
    *for_both_sizes("realloc of a freed object", FREED_ONE, "realloc(p, 50)", FREED),
    *for_both_sizes("usable_size of a freed object", FREED_ONE, "usable_size(p)", FREED),
    *for_both_sizes(
        "free in another thread of a freed object",
        "import threading; p = malloc({}); t = threading.Thread(target=free, args=[p]); t.start(); t.join()",
        "free(p)", FREED),
    Scenario("free of a slot that was never handed out",
             "p = malloc(32); page = maps.mapping_at(p)",
             "free(p + 48 if p + 96 < page.end else p - 48)", FREED),
]  # fmt: skip

OF_NOTHING = {
    "an interior pointer": (LIVE, "p + 16", INTERIOR),
    "an unaligned pointer": (LIVE, "p + 1", INTERIOR),
    "a pointer to the last byte": (LIVE, "p + usable_size(p) - 1", INTERIOR),
    "secret address space never used": (LIVE, "p + (1 << 32)", NOT_OURS),
    "libc's memory": (LIVE, "ctypes.addressof(ctypes.create_string_buffer({}))", NOT_OURS),
    "the stack": (LIVE, "next(each for each in maps.mappings() if each.name == '[stack]').end - 64", NOT_OURS),
    "the address 16": (LIVE, "16", NOT_OURS),
    "the highest address": (LIVE, "SIZE_MAX", NOT_OURS),
}
CALLS = {"free": "free({})", "realloc": "realloc({}, 100)", "usable_size": "usable_size({})"}
BAD_POINTERS = [
    Scenario(f"{call} of {what}, {which}", setup.format(size), CALLS[call].format(pointer.format(size)), phrase)
    for what, (setup, pointer, phrase) in OF_NOTHING.items()
    for which, size in SIZES.items()
    for call in CALLS
    if call == "free" or which == "small"
] + [
    *for_both_sizes("free of the guard page before", EDGES, "free(page.start - 4096)", NOT_OURS),
    *for_both_sizes("free of the guard page behind", EDGES, "free(page.end)", NOT_OURS),
    Scenario("free of a large object's second frame", f"p = malloc({3 * LARGE})", "free(p + 131072)", NOT_OURS),
    Scenario("free before the first allocation", "", "free(id(heap))", NOT_OURS),
    Scenario("free of 1 before the first allocation", "", "free(1)", NOT_OURS),
]

OVERFLOW_SIZES = (0, 1, 7, 8, 15, 24, 100, 1_000, 16_392, 16_393, LARGE)
OVERFLOWS = [
    *(Scenario(f"one byte behind {size}", f"p = malloc({size}); write(p + {size}, b'x')", "free(p)", OVERFLOW)
      for size in OVERFLOW_SIZES),
    *(Scenario(f"eight bytes behind {size}", f"p = malloc({size}); write(p + {size}, b'overflow')", "free(p)", OVERFLOW)
      for size in OVERFLOW_SIZES),
    *for_both_sizes("eight zeros behind the end", "p = malloc({0}); write(p + {0}, bytes(8))", "free(p)", OVERFLOW),
    *for_both_sizes("a byte behind a NUL behind the end",
                    "p = malloc({0}); write(p + {0}, bytes(1)); spoil(p + {0} + 1)", "free(p)", OVERFLOW),
    Scenario("the last byte of the slack of a slot", "p = malloc(1); spoil(p + 15)", "free(p)", OVERFLOW),
    Scenario("the last byte of the slack of a large object",
             f"p = malloc({LARGE}); spoil(maps.mapping_at(p).end - 1)", "free(p)", OVERFLOW),
    *for_both_sizes("overflow seen by realloc", "p = malloc({0}); write(p + {0}, b'x')", "realloc(p, 50)", OVERFLOW),
    *for_both_sizes("overflow seen by usable_size", "p = malloc({0}); write(p + {0}, b'x')", "usable_size(p)",
                    OVERFLOW),
    *for_both_sizes("overflow of what realloc shrank", "p = realloc(malloc({0}), {0} - 5); write(p + {0} - 5, b'x')",
                    "free(p)", OVERFLOW),
    Scenario("underflow into a live neighbour",
             "many = {malloc(32) for _ in range(500)}; p = next(p for p in many if p - 48 in many); spoil(p - 1)",
             "free(p - 48)", OVERFLOW),
]  # fmt: skip

# A freed slot waits until much of its word is free: the quarantine. So many are freed, then all are handed out.
HAND_OUT = "[malloc(32) for _ in range(20_000)]"
MANY_FREED = "many = [malloc(32) for _ in range(2_000)]; [free(each) for each in many]; p = many[1_000]; "
AFTER_FREE = [
    Scenario("the first byte written after free", MANY_FREED + "write(p, b'x')", HAND_OUT, LATE_WRITE),
    Scenario("the last byte written after free", MANY_FREED + "write(p + 31, b'x')", HAND_OUT, LATE_WRITE),
    Scenario("the slack written after free", MANY_FREED + "write(p + 47, b'x')", HAND_OUT, LATE_WRITE),
    Scenario("a word written after free and seen by another thread", MANY_FREED + "import threading; write(p, b'late')",
             "[threading.Thread(target=lambda: [malloc(32) for _ in range(9_999)]).start() for _ in '12']", LATE_WRITE),
    Scenario("a large object written after free", f"p = malloc({LARGE}); free(p)", "write(p, b'x')"),
    Scenario("a large object read after free", f"p = malloc({LARGE}); write(p, b'x'); read(p, 1); free(p)",
             "read(p, 1)"),
    *for_both_sizes("read after the pages went back", "p = malloc({}); read(p, 1); free(p); heap.trim()", "read(p, 1)"),
]  # fmt: skip

GUARD_PAGES = [
    *for_both_sizes("read before the first page", EDGES + "; read(page.start, 1)", "read(page.start - 1, 1)"),
    *for_both_sizes("read behind the last page", EDGES + "; read(page.end - 1, 1)", "read(page.end, 1)"),
    *for_both_sizes("write before the first page", EDGES, "write(page.start - 1, b'x')"),
    *for_both_sizes("write behind the last page", EDGES, "write(page.end, b'x')"),
]

SCENARIOS = FREED_TWICE + BAD_POINTERS + OVERFLOWS + AFTER_FREE + GUARD_PAGES


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_misuse_ends_the_process(scenario):
    program = f"{PRELUDE}\n{scenario.setup}\nprint('ready', flush=True)\n{scenario.misuse}\n"
    die(program, by=scenario.signal, phrase=scenario.last_words)


def test_no_two_scenarios_are_the_same():
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    assert len({scenario[1:] for scenario in SCENARIOS}) == len(SCENARIOS)


HARMLESS = {
    "a string that ends one NUL too far": "for n in (0, 1, 31, 32, 1_000, 100_000): p = malloc(n); "
    "write(p, bytes(n + 1)); usable_size(p); free(p)",
    "the object filled to its last byte": "for n in (1, 31, 32, 1_000, 100_000): p = malloc(n); "
    "write(p, b'x' * n); usable_size(p); free(p)",
    "NULL freed, twice": "free(None); free(None)",
    "an object freed by another thread": "import threading; p = malloc(32); "
    "t = threading.Thread(target=free, args=[p]); t.start(); t.join()",
    "a large object freed and allocated again": "for _ in range(5): p = malloc(100_000); write(p, b'x'); free(p)",
    "owns asked of any address": "assert [owns(p) for p in (0, 1, id(heap), SIZE_MAX)] == [0] * 4",
}


@pytest.mark.parametrize("program", HARMLESS.values(), ids=HARMLESS)
def test_correct_use_ends_no_process(program):
    succeed(f"{PRELUDE}\n{program}\nassert heap.is_valid()\n")


def test_the_setups_alone_end_no_process():
    """The positive control: it was the misuse. (The setups of overflows have done their damage, so are left out.)"""
    setups = [scenario.setup for scenario in FREED_TWICE + BAD_POINTERS + GUARD_PAGES]
    succeed(PRELUDE + "\n".join(setups))


def test_an_object_that_was_not_overrun_is_freed_like_any_other():
    """The positive control of the overflows."""
    sizes = OVERFLOW_SIZES
    succeed(f"{PRELUDE}\nfor size in {sizes}:\n    p = malloc(size); write(p, b'x' * size); free(p)\n")


def test_many_freed_slots_are_handed_out_again_if_nobody_wrote_to_them():
    """The positive control of the late writes: their slots do come back, and are taken."""
    succeed(f"{PRELUDE}\n{MANY_FREED}\nagain = {HAND_OUT}\nassert p in again")


def test_a_freed_small_object_reads_as_zeros():
    succeed(
        PRELUDE
        + """
        p = malloc(32); write(p, b"x" * 32)
        assert read(p, 32) == b"x" * 32
        free(p)
        assert read(p, 48) == bytes(48)
        """.replace("        ", "")
    )


def test_a_python_object_that_is_dropped_after_an_overflow_ends_the_process():
    program = f"""{PRELUDE}
from secalloc import SecureBytes
key = SecureBytes(32)
write(address_of(key) + 32, b"x")
print("ready", flush=True)
del key
"""
    die(program, by=signal.SIGABRT, phrase=f"secalloc: {OVERFLOW}\n")
