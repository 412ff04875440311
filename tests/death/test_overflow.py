"""Bytes written, or read, outside of the object that was asked for."""
import pytest
from support import capi
from support.children import succeed
from support.fixtures import nothing_leaks  # noqa: F401
from support.scenarios import (
    FAULT,
    LARGE,
    LATE_WRITE,
    OVERFLOW,
    PRELUDE,
    SIZES,
    SMALL,
    UNDERFLOW,
    Scenario,
    controls_end_no_process,
    each_of,
    for_both_sizes,
)

LIVE = "p = malloc(SIZE)"
EDGES = LIVE + "; page = maps.mapping_at(p)"
FILL = "write(p, b'x' * SIZE); free(p)"
THREAD = "t = threading.Thread(target=free, args=[p]); t.start(); t.join()"
# Two neighbours of 32 bytes in slots of 48.
NEIGHBOURS = ("many = {malloc(32) for _ in range(500)}; p = next(p for p in many if p - 48 in many); ")
HAND_OUT = "again = [malloc(32) for _ in range(20_000)]; [free(each) for each in again]"
# A large object that does not begin at its first page's start.
INSIDE = f"p = next(p for p in (malloc({LARGE}) for _ in range(50)) if p % 4096 > 64)"
OVERRUN_SIZES = (0, 1, 7, 8, 15, 24, 100, 1_000, 16_392, 16_393, LARGE)

SCENARIOS = [
    *(Scenario(f"{name} behind {size}", f"p = malloc({size})", f"write(p + {size}, {what!r}); free(p)", OVERFLOW,
               f"write(p, b'x' * {size}); write(p + {size}, bytes(1)); free(p)")
      for size in OVERRUN_SIZES for name, what in (("one byte", b"x"), ("eight bytes", b"overflow"))),
    *for_both_sizes("eight zeros behind the end", LIVE, "write(p + SIZE, bytes(8)); free(p)", OVERFLOW),
    *for_both_sizes("a byte behind a NUL behind the end", LIVE,
                    "write(p + SIZE, bytes(1)); spoil(p + SIZE + 1); free(p)", OVERFLOW,
                    "write(p + SIZE, bytes(1)); free(p)"),
    Scenario("the last byte of the slack of a slot", "p = malloc(1)", "spoil(p + 15); free(p)", OVERFLOW, "free(p)"),
    Scenario("the last byte of the slack of a large object", EDGES.replace("SIZE", str(LARGE)),
             "spoil(page.end - 1); free(p)", OVERFLOW, "free(p)"),
    *for_both_sizes("overflow seen by realloc", LIVE, "write(p + SIZE, b'x'); realloc(p, 50)", OVERFLOW,
                    "realloc(p, 50)"),
    *for_both_sizes("overflow seen by usable_size", LIVE, "write(p + SIZE, b'x'); usable_size(p)", OVERFLOW,
                    "usable_size(p)"),
    *for_both_sizes("overflow seen by another thread's free", LIVE, "write(p + SIZE, b'x'); " + THREAD, OVERFLOW,
                    THREAD),
    *for_both_sizes("overflow of what calloc made", "p = calloc(1, SIZE)", "write(p + SIZE, b'x'); free(p)", OVERFLOW,
                    FILL),
    *for_both_sizes("overflow of what was aligned to a cache line", "p = aligned_alloc(64, SIZE)",
                    "write(p + SIZE, b'x'); free(p)", OVERFLOW, FILL),
    *for_both_sizes("overflow of what was aligned to 64 KiB", "p = aligned_alloc(65_536, SIZE)",
                    "write(p + SIZE, b'x'); free(p)", OVERFLOW, FILL),
    Scenario("overflow of whole pages that were aligned", "p = aligned_alloc(65_536, 262_144)",
             "write(p + 262_144, b'x'); free(p)", OVERFLOW, "write(p, b'x' * 262_144); free(p)"),
    *for_both_sizes("overflow of what realloc shrank in place", "p = realloc(malloc(SIZE), SIZE - 5)",
                    "write(p + SIZE - 5, b'x'); free(p)", OVERFLOW, "write(p, b'x' * (SIZE - 5)); free(p)"),
    *for_both_sizes("overflow of what realloc moved", "p = realloc(malloc(SIZE), 3 * SIZE)",
                    "write(p + 3 * SIZE, b'x'); free(p)", OVERFLOW, "write(p, b'x' * 3 * SIZE); free(p)"),
    Scenario("overflow by a whole slot", NEIGHBOURS + "p -= 48", "write(p + 32, b'x' * 48); free(p)", OVERFLOW,
             "free(p)"),
    Scenario("overflow into a free slot, seen when that is handed out",
             "many = [malloc(32) for _ in range(2_000)]; [free(each) for each in many[100:]]; "
             "p = next(p for p in many[:100] if p + 48 in many[100:])",
             "write(p + 32, b'x' * 17); " + HAND_OUT, LATE_WRITE, HAND_OUT),
    Scenario("underflow into a live neighbour", NEIGHBOURS, "spoil(p - 1); free(p - 48)", OVERFLOW, "free(p - 48)"),
    Scenario("underflow by eight bytes into a live neighbour", NEIGHBOURS, "write(p - 8, bytes(8)); free(p - 48)",
             OVERFLOW, "free(p - 48)"),
    Scenario("underflow into a free neighbour, seen when that is handed out",
             "many = [malloc(32) for _ in range(2_000)]; [free(each) for each in many[100:]]; "
             "p = next(p for p in many[:100] if p - 48 in many[100:])", "write(p - 1, b'x'); " + HAND_OUT, LATE_WRITE,
             HAND_OUT),
    Scenario("underflow of a slab's first slot",
             "many = [malloc(32) for _ in range(20_000)]; starts = {each.start for each in maps.secret_mappings()}; "
             "p = next(p for p in many if p in starts)", "write(p - 1, b'x')", FAULT, "[free(each) for each in many]"),
    Scenario("underflow of a large object at its first page",
             f"p = next(p for p in (malloc({LARGE}) for _ in range(5_000)) if p % 4096 == 0)", "write(p - 1, b'x')",
             FAULT, "write(p, b'x')"),
    Scenario("underflow of a large object", INSIDE, "spoil(p - 1); free(p)", UNDERFLOW, "free(p)"),
    Scenario("underflow of a large object to its page's start", INSIDE, "spoil(p - p % 4096); free(p)", UNDERFLOW,
             "free(p)"),
    Scenario("underflow of a large object, seen by resize", INSIDE, "spoil(p - 64); realloc(p, 1_000_000)",
             UNDERFLOW, "realloc(p, 1_000_000)"),
    Scenario("overflow of a large object beyond its last page", EDGES.replace("SIZE", str(LARGE)),
             "write(p, b'x' * (page.end - p + 1))", FAULT),
    *for_both_sizes("read before the first page", EDGES, "read(page.start - 1, 1)", FAULT, "read(page.start, 1)"),
    *for_both_sizes("read behind the last page", EDGES, "read(page.end, 1)", FAULT, "read(page.end - 1, 1)"),
    *for_both_sizes("write before the first page", EDGES, "write(page.start - 1, b'x')", FAULT),
    *for_both_sizes("write behind the last page", EDGES, "write(page.end, b'x')", FAULT),
]  # fmt: skip


@each_of(SCENARIOS)
def test_it_ends_the_process(scenario):
    scenario.ends()


def test_an_object_filled_to_its_last_byte_ends_no_process():
    controls_end_no_process(SCENARIOS)


@pytest.mark.parametrize("size", [1, 7, 8, 24, SMALL, 1_000, 16_393, LARGE])
def test_a_string_that_fills_its_object_ends_there(size):
    """C's string functions meet the canary's zero: they show neither canary nor neighbour."""
    p = capi.malloc(size)
    capi.write(p, b"x" * size)
    assert capi.read(p, -1) == b"x" * size  # strlen(3) finds the end
    assert 0 not in capi.read(p + size + 1, 7)  # the control: nothing but that zero would end it
    capi.free(p)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_string_that_ends_one_nul_too_far_is_harmless(size):
    p = capi.malloc(size)
    capi.write(p, bytes(size + 1))
    assert capi.usable_size(p) == size
    capi.free(p)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_canary_is_another_in_each_process(size):
    """Eight bytes or more of slack, the first of them 0."""
    look = f"{PRELUDE}\np = malloc({size}); print(read(p + {size}, 8).hex())"
    canaries = {succeed(look) for _ in range(3)}
    assert len(canaries) == 3
    assert all(canary.startswith("00") for canary in canaries)
