"""Misuse of guarded objects, which end at a guard page and have a protection of their own."""
import signal

import pytest
from support.children import die
from support.scenarios import (
    FAULT,
    FREED,
    INTERIOR,
    NOT_GUARDED,
    NOT_OURS,
    PRELUDE,
    UNDERFLOW,
    Scenario,
    controls_end_no_process,
    each_of,
)

SIZES = (1, 32, 4_095, 4_096, 100_000, 200_000)
LIVE = "p = guarded_alloc(32); write(p, b'x' * 32)"
NO_ACCESS = LIVE + "; assert protect(p, NOACCESS) == 0"
READ_ONLY = LIVE + "; assert protect(p, READONLY) == 0"
OPEN = "protect(p, READWRITE); write(p, b'y'); assert read(p, 2) == b'yx'; free(p)"

BESIDE = [
    *(Scenario(f"a byte {verb} behind {size} bytes", f"p = guarded_alloc({size})", code.format(f"p + {size}"), FAULT,
               f"write(p, b'x' * {size}); read(p, {size}); free(p)")
      for size in SIZES for verb, code in (("read", "read({}, 1)"), ("written", "write({}, b'x')"))),
    Scenario("a NUL written behind", LIVE, "write(p + 32, bytes(1))", FAULT),
    Scenario("a string read that has no end", LIVE, "read(p, -1)", FAULT, "read(p, 32)"),
    Scenario("a byte of an object of size 0 read", "p = guarded_alloc(0)", "read(p, 1)", FAULT, "free(p)"),
    Scenario("a byte of an object of size 0 written", "p = guarded_alloc(0)", "write(p, b'x')", FAULT, "free(p)"),
    Scenario("a byte before an object of size 0", "p = guarded_alloc(0)", "spoil(p - 1); free(p)", UNDERFLOW,
             "free(p)"),
    Scenario("a byte behind what realloc made", LIVE + "; p = realloc(p, 5_000)", "write(p + 5_000, b'x')", FAULT,
             "write(p, b'x' * 5_000); free(p)"),
    *(Scenario(f"a byte before {size} bytes", f"p = guarded_alloc({size})", "spoil(p - 1); free(p)", UNDERFLOW,
               "spoil(p); free(p)")
      for size in SIZES if size % 4_096),
    Scenario("eight zeros before", LIVE, "write(p - 8, bytes(8)); free(p)", UNDERFLOW, "free(p)"),
    Scenario("the first byte of the page", LIVE, "spoil(maps.mapping_at(p).start); free(p)", UNDERFLOW, "free(p)"),
    Scenario("a byte before, seen by usable_size", LIVE, "spoil(p - 1); usable_size(p)", UNDERFLOW, "usable_size(p)"),
    Scenario("a byte before, seen by realloc", LIVE, "spoil(p - 1); realloc(p, 50)", UNDERFLOW, "realloc(p, 50)"),
    Scenario("a byte before, seen by the free of what is noaccess since", LIVE,
             "spoil(p - 1); protect(p, NOACCESS); free(p)", UNDERFLOW, "protect(p, NOACCESS); free(p)"),
    Scenario("a byte before, seen by the free of what is readonly since", LIVE,
             "spoil(p - 1); protect(p, READONLY); free(p)", UNDERFLOW, "protect(p, READONLY); free(p)"),
    Scenario("a byte before whole pages", "p = guarded_alloc(4_096)", "write(p - 1, b'x')", FAULT, "write(p, b'x')"),
    Scenario("a byte before the first page", LIVE, "read(maps.mapping_at(p).start - 1, 1)", FAULT),
]  # fmt: skip

CLOSED = [
    Scenario("read of what is noaccess", NO_ACCESS, "read(p, 1)", FAULT, OPEN),
    Scenario("write to what is noaccess", NO_ACCESS, "write(p, b'x')", FAULT, OPEN),
    Scenario("write to what is readonly", READ_ONLY, "write(p, b'x')", FAULT, "assert read(p, 1) == b'x'; " + OPEN),
    Scenario("write to the slack of what is readonly", READ_ONLY, "write(p - 1, b'x')", FAULT, OPEN),
    Scenario("realloc of what is noaccess, whose bytes nobody may read", NO_ACCESS, "realloc(p, 64)", FAULT,
             "protect(p, READONLY); q = realloc(p, 64); assert read(q, 33) == b'x' * 32 + bytes(1); free(q)"),
    Scenario("read of what was noaccess when it was freed", NO_ACCESS + "; free(p)", "read(p, 1)", FAULT),
    Scenario("read in another thread of what is noaccess", NO_ACCESS,
             "t = threading.Thread(target=read, args=[p, 1]); t.start(); t.join()", FAULT, OPEN),
]  # fmt: skip

FREED_BEFORE = LIVE + "; free(p)"
MISTAKEN = [
    Scenario("free twice", FREED_BEFORE, "free(p)", FREED),
    Scenario("free twice of what was noaccess", NO_ACCESS + "; free(p)", "free(p)", FREED),
    Scenario("free twice of size 0", "p = guarded_alloc(0); free(p)", "free(p)", FREED),
    Scenario("free twice after the pages went back", FREED_BEFORE + "; heap.trim()", "free(p)", NOT_OURS),
    Scenario("realloc of a freed one", FREED_BEFORE, "realloc(p, 50)", FREED),
    Scenario("usable_size of a freed one", FREED_BEFORE, "usable_size(p)", FREED),
    Scenario("protection of a freed one", FREED_BEFORE, "protect(p, READONLY)", FREED),
    Scenario("read of a freed one", FREED_BEFORE, "read(p, 1)", FAULT),
    Scenario("write to a freed one", FREED_BEFORE, "write(p, b'x')", FAULT),
    Scenario("free of a pointer into it", LIVE, "free(p + 1)", INTERIOR, "free(p)"),
    Scenario("free of a pointer into its slack", LIVE, "free(p - 1)", INTERIOR, "free(p)"),
    Scenario("free of its page", LIVE, "free(maps.mapping_at(p).start)", INTERIOR, "free(p)"),
    Scenario("free of the guard page behind it", LIVE, "free(p + 32)", NOT_OURS, "free(p)"),
    Scenario("free of the guard page before it", LIVE, "free(maps.mapping_at(p).start - 4_096)", NOT_OURS, "free(p)"),
    Scenario("protection of a pointer into it", LIVE, "protect(p + 1, READONLY)", INTERIOR, "protect(p, READONLY)"),
    Scenario("protection of a small object that is not guarded", "p = malloc(32)", "protect(p, READONLY)", NOT_GUARDED),
    Scenario("protection of a large object that is not guarded", "p = malloc(100_000)", "protect(p, READONLY)",
             NOT_GUARDED),
    Scenario("protection of an ordinary object", LIVE, "protect(id(heap), READONLY)", NOT_OURS),
    Scenario("protection of NULL", LIVE, "protect(None, READONLY)", NOT_OURS),
]  # fmt: skip

SCENARIOS = BESIDE + CLOSED + MISTAKEN


@each_of(SCENARIOS)
def test_it_ends_the_process(scenario):
    scenario.ends()


def test_correct_use_ends_no_process():
    controls_end_no_process(SCENARIOS)


@pytest.mark.parametrize("access", ["noaccess", "readonly"])
def test_a_write_from_c_to_a_protected_python_object_ends_the_process(access):
    """From Python it is a ProtectedError: `tests/test_guarded.py`."""
    die(
        f"""{PRELUDE}
key = SecureBytes(b"abcd", guarded=True)
p = address_of(key)
import gc; gc.collect()
write(p, b"x")
key.{access}()
print("ready", flush=True)
write(p, b"y")
""",
        by=signal.SIGSEGV,
    )
