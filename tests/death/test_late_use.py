"""Reads and writes through a pointer after its free.

A small object's slot stays readable, and is all zero; a write into it is found at the latest when the slot is handed
out again, or leaves the quarantine; in slots above 1 KiB, if it meets the sample that is looked at. A large object's
pages are closed; one of at most 64 KiB, or of array data, is first like a slot, until others take its place.
"""
import pytest
from support.children import succeed
from support.scenarios import (
    FAULT,
    LARGE,
    LATE_WRITE,
    PRELUDE,
    Scenario,
    controls_end_no_process,
    each_of,
    for_both_sizes,
)

# A freed slot waits until much of its word is free. So many are freed, then all are handed out.
HAND_OUT = "again = [malloc(32) for _ in range(20_000)]; [free(each) for each in again]"
MANY_FREED = "many = [malloc(32) for _ in range(2_000)]; [free(each) for each in many]; p = many[1_000]"
GONE = f"p = malloc({LARGE}); write(p, b'x'); read(p, 1); free(p)"
PARTS = HAND_OUT.replace("20_000", "9_999")
THREADS = (f"threads = [threading.Thread(target=exec, args=[{PARTS!r}, globals(), {{}}]) for _ in '12']; "
           "[t.start() for t in threads]; [t.join() for t in threads]")  # fmt: skip

SCENARIOS = [
    Scenario("the first byte written", MANY_FREED, "write(p, b'x'); " + HAND_OUT, LATE_WRITE, HAND_OUT),
    Scenario("the last byte written", MANY_FREED, "write(p + 31, b'x'); " + HAND_OUT, LATE_WRITE, HAND_OUT),
    Scenario("the slack written", MANY_FREED, "write(p + 47, b'x'); " + HAND_OUT, LATE_WRITE, HAND_OUT),
    Scenario("a byte written and seen by another thread", MANY_FREED, "write(p, b'x'); " + THREADS, LATE_WRITE,
             THREADS),
    Scenario("the object of an ended thread written", "many = []; "
             "t = threading.Thread(target=lambda: many.extend(malloc(32) for _ in range(2_000))); t.start(); t.join(); "
             "[free(each) for each in many]", "write(many[1_000], b'x'); " + HAND_OUT, LATE_WRITE, HAND_OUT),
    Scenario("a byte written after realloc moved the object",
             "many = [malloc(32) for _ in range(2_000)]; [realloc(each, 500) for each in many]; p = many[1_000]",
             "write(p, b'x'); " + HAND_OUT, LATE_WRITE, HAND_OUT),
    Scenario("a byte of an object of size 0 written",
             "many = [malloc(0) for _ in range(2_000)]; [free(each) for each in many]; p = many[1_000]",
             "write(p, b'x'); " + HAND_OUT.replace("32", "0").replace("20", "40"), LATE_WRITE,
             HAND_OUT.replace("32", "0").replace("20", "40")),
    Scenario("a large object written", GONE, "write(p, b'x')", FAULT, f"p = malloc({LARGE}); write(p, b'x')"),
    Scenario("a large object read", GONE, "read(p, 1)", FAULT, f"p = malloc({LARGE}); read(p, 1)"),
    Scenario("a large object written when another has been made since", GONE + f"; q = malloc({LARGE}); assert p != q",
             "write(p, b'x')", FAULT, "write(q, b'x')"),
    Scenario("a large object read after realloc moved it", f"p = malloc({LARGE}); q = realloc(p, 500_000)",
             "read(p, 1)", FAULT, "read(q, 1)"),
    Scenario("the cut-off end of a large object read after realloc moved it",
             "p = malloc(4 << 20); write(p + (2 << 20), b'x'); q = realloc(p, 1 << 20)", "read(p + (2 << 20), 1)",
             FAULT, "read(q + (1 << 20) - 1, 1)"),
    *for_both_sizes("read after the pages went back", "p = malloc(SIZE); read(p, 1); free(p); heap.trim()",
                    "read(p, 1)", FAULT),
]  # fmt: skip

BIG_FREED = "many = [malloc(16_000) for _ in range(40)]; [free(each) for each in many]; p = many[20]"
BIG_OUT = "again = [malloc(16_000) for _ in range(400)]; [free(each) for each in again]"
WARM = "p = malloc(65_000); free(p)"
SAMPLED = [
    Scenario("the first byte of a big slot written", BIG_FREED, "write(p, b'x'); " + BIG_OUT, LATE_WRITE, BIG_OUT),
    Scenario("the last byte of a big slot written", BIG_FREED, "write(p + slot_bytes(16_000) - 1, b'x'); " + BIG_OUT,
             LATE_WRITE, BIG_OUT),
    Scenario("a quarter of every big slot written, neither head nor tail", BIG_FREED,
             "[write(each + 6_000, b'x' * 4_000) for each in many]; " + BIG_OUT, LATE_WRITE, BIG_OUT),
    Scenario("a large object written that is used again at once", WARM, "write(p, b'x'); malloc(65_000)", LATE_WRITE,
             "malloc(65_000)"),
    Scenario("the last byte of a large object written that is used again at once", WARM,
             "write(p + 64_999, b'x'); malloc(65_000)", LATE_WRITE, "malloc(65_000)"),
    Scenario("array data written that is used again at once", "p = aligned_alloc(64, 1 << 20); free(p)",
             "write(p, b'x'); aligned_alloc(64, 1 << 20)", LATE_WRITE, "aligned_alloc(64, 1 << 20)"),
    Scenario("array data read after the pages went back",
             "p = aligned_alloc(64, 1 << 20); read(p, 1); free(p); assert read(p, 9) == bytes(9); heap.trim()",
             "read(p, 1)", FAULT),
    Scenario("a large object read whose place another has taken",
             "many = [malloc(65_000) for _ in range(60)]; [free(each) for each in many]; p = many[0]", "read(p, 1)",
             FAULT, "read(many[-1], 1)"),
]  # fmt: skip
WHOLE = "secalloc.configure(verify_whole=True)"
VERIFIED = [
    Scenario("any byte of a big slot written", BIG_FREED, "write(p + 7_777, b'x'); " + BIG_OUT, LATE_WRITE, BIG_OUT),
    Scenario("any byte of a large object written that is used again at once", WARM,
             "write(p + 33_333, b'x'); malloc(65_000)", LATE_WRITE, "malloc(65_000)"),
]  # fmt: skip

# Of hardening="full": the last ones freed are in the quarantine, whatever place each has drawn.
FULL = "secalloc.configure(hardening='full')"
FEW_FREED = "many = [malloc(SIZE) for _ in range(3)]; [free(each) for each in many]; p = many[-1]"
PASS = "[free(malloc(32)) for _ in range(20_000)]"
QUARANTINED = [
    Scenario("a byte written and seen when the slot leaves the quarantine", FEW_FREED.replace("SIZE", "32"),
             "write(p, b'x'); " + PASS, LATE_WRITE, PASS),
    Scenario("the slack written and seen when the slot leaves the quarantine", FEW_FREED.replace("SIZE", "32"),
             "write(p + 47, b'x'); " + PASS, LATE_WRITE, PASS),
    Scenario("a byte written and seen by trim", FEW_FREED.replace("SIZE", "32"), "write(p, b'x'); heap.trim()",
             LATE_WRITE, "heap.trim()"),
    Scenario("a byte of a big slot written and seen by trim", FEW_FREED.replace("SIZE", "16_000"),
             "write(p + 15_999, b'x'); heap.trim()", LATE_WRITE, "heap.trim()"),
    Scenario("a byte written before the quarantine, and seen behind it", MANY_FREED,
             "write(p, b'x'); " + HAND_OUT + "; " + PASS, LATE_WRITE, HAND_OUT + "; " + PASS),
    Scenario("a large object written in quarantine", GONE + f"; [free(malloc({LARGE})) for _ in range(5)]",
             "write(p, b'x')", FAULT),
    Scenario("a large object of 64 KiB read at once", WARM, "read(p, 1)", FAULT),
    Scenario("a large object read in quarantine", GONE + f"; [free(malloc({LARGE})) for _ in range(5)]",
             "read(p, 1)", FAULT),
]  # fmt: skip


@each_of(SCENARIOS + SAMPLED)
def test_it_ends_the_process(scenario):
    scenario.ends()


@each_of(VERIFIED)
def test_it_ends_the_process_where_the_whole_is_verified(scenario):
    scenario.ends(before=WHOLE)


@each_of(QUARANTINED)
def test_it_ends_the_process_under_full_hardening(scenario):
    scenario.ends(before=FULL)


def test_the_same_without_a_late_use_ends_no_process():
    controls_end_no_process(SCENARIOS + SAMPLED)
    controls_end_no_process(VERIFIED, before=WHOLE)
    controls_end_no_process(QUARANTINED, before=FULL)


@pytest.mark.parametrize("hardening", ["fast", "full"])
def test_the_slots_of_the_late_writes_are_handed_out_again_if_nobody_wrote_to_them(hardening):
    """The positive control: the misuse goes where the late writes are found."""
    succeed(f"""{PRELUDE}
secalloc.configure(hardening={hardening!r})
{MANY_FREED}
again = [malloc(32) for _ in range(20_000)]
for _ in range(20_000 if {hardening == "full"} else 0):
    again.append(malloc(32)); free(again[-1])
assert p in again
""")


@pytest.mark.parametrize("hardening", ["fast", "full"])
@pytest.mark.parametrize("size", [1, 32, 1_000, 16_392])
def test_a_freed_small_object_reads_as_zeros(size, hardening):
    succeed(f"""{PRELUDE}
secalloc.configure(hardening={hardening!r})
p = malloc({size}); write(p, b"x" * {size})
assert read(p, {size}) == b"x" * {size}
free(p)
assert read(p, slot_bytes({size})) == bytes(slot_bytes({size}))
""")


def test_a_freed_large_object_of_64_kib_reads_as_zeros_at_first():
    succeed(f"""{PRELUDE}
p = malloc(65_000); write(p, b"x" * 65_000)
free(p)
assert read(p, 65_000) == bytes(65_000)
""")
