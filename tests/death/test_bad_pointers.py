"""Pointers that no alloc gave: foreign, interior, unaligned, beside, never used."""
from support.scenarios import (
    INTERIOR,
    NOT_OURS,
    SIZES,
    Scenario,
    controls_end_no_process,
    each_of,
    for_both_sizes,
)

from secalloc_ext.heapobject import slot_bytes

LARGEST = {slot_bytes(size): size for size in range(16_393)}  # size class, by its slot: the most bytes it holds
POINTERS = {
    "an interior pointer": ("p + 16", INTERIOR),
    "an unaligned pointer": ("p + 1", INTERIOR),
    "a pointer to the last byte": ("p + SIZE - 1", INTERIOR),
    "secret address space never used": ("p + (1 << 32)", NOT_OURS),
    "libc's memory": ("ctypes.addressof(ctypes.create_string_buffer(SIZE))", NOT_OURS),
    "a Python object": ("id(heap)", NOT_OURS),
    "a mapping that nobody may touch": ("hostile.libc.mmap(None, 65_536, 0, 0x22, -1, 0) + 32_768", NOT_OURS),
    "a mapping of somebody else's": ("hostile.libc.mmap(None, 65_536, 3, 0x22, -1, 0) + 32_768", NOT_OURS),
    "code": ("address('malloc')", NOT_OURS),
    "the stack": ("next(each for each in maps.mappings() if each.name == '[stack]').end - 64", NOT_OURS),
    "the address 1": ("1", NOT_OURS),
    "the address 16": ("16", NOT_OURS),
    "the highest address": ("SIZE_MAX", NOT_OURS),
}
CALLS = {"free": "free(bad)", "realloc": "realloc(bad, 100)", "usable_size": "usable_size(bad)"}
EDGES = "p = malloc(SIZE); page = maps.mapping_at(p)"

SCENARIOS = [
    Scenario(f"{call} of {what}, {which}", f"from support import hostile; p = malloc({size})",
             f"bad = {pointer.replace('SIZE_MAX', str(2**64 - 1)).replace('SIZE', str(size))}; {code}", phrase,
             "free(p)")
    for what, (pointer, phrase) in POINTERS.items()
    for which, size in SIZES.items()
    for call, code in CALLS.items()
] + [
    *(Scenario(f"free of a pointer {by} behind the start of a slot of {slot}", f"p = malloc({size})",
               f"free(p + {by})", INTERIOR, "free(p)")
      for slot, size in LARGEST.items() for by in (8, 16) if by < slot),
    *for_both_sizes("free of the guard page before", EDGES, "free(page.start - 4096)", NOT_OURS, "free(p)"),
    *for_both_sizes("free of the guard page behind", EDGES, "free(page.end)", NOT_OURS, "free(p)"),
    Scenario("free of the rest behind a slab's last slot", "p = malloc(1_000); page = maps.mapping_at(p)",
             "slot = slot_bytes(1_000); free(page.start + (page.end - page.start) // slot * slot)", NOT_OURS,
             "free(p)"),
    Scenario("free of a large object's second frame", "p = malloc(300_000)", "free(p + 131_072)", NOT_OURS, "free(p)"),
    Scenario("free before the first allocation", "", "free(id(heap))", NOT_OURS),
    Scenario("free of 1 before the first allocation", "", "free(1)", NOT_OURS),
    Scenario("realloc of 1 before the first allocation", "", "realloc(1, 16)", NOT_OURS),
    Scenario("usable_size of 1 before the first allocation", "", "usable_size(1)", NOT_OURS),
]  # fmt: skip


@each_of(SCENARIOS)
def test_it_ends_the_process(scenario):
    scenario.ends()


def test_the_pointer_that_alloc_gave_ends_no_process():
    controls_end_no_process(SCENARIOS)


def test_every_size_class_is_tried():
    assert len(LARGEST) == 37
