"""Where objects are placed, and how long what is freed waits: the parts of it, and the switch over all of them."""
import json
import re
from itertools import pairwise

import pytest
from support import capi, maps
from support.children import succeed
from support.fixtures import nothing_leaks  # noqa: F401

from secalloc import Heap, SecureBytes, configure

FRAME = 1 << 17
SLOT = 48  # of 32 bytes


def addresses(heap, count, size=32):
    keys = [SecureBytes(size, heap=heap) for _ in range(count)]
    return keys, [capi.address_of(key) for key in keys]


def rounds_until_reuse(heap, size, most):
    """How many objects are made and dropped until one stands where the first did; large ones, in the same pages."""
    unit = 4096 if size > 16_392 else 1
    key = SecureBytes(size, heap=heap)
    first = capi.address_of(key) // unit
    for i in range(most):
        del key
        key = SecureBytes(size, heap=heap)
        if capi.address_of(key) // unit == first:
            return i + 1
    return most


def test_slots_are_taken_at_random():
    kept, where = addresses(Heap("h"), 2000)
    assert len(set(where)) == len(kept)
    in_order = sum(b - a == SLOT for a, b in pairwise(where))
    # In sequence it would be about 2000. The free slot next to a random place, among 64, follows the last in one of 12.
    assert in_order < 400
    assert sum(b > a for a, b in pairwise(where)) in range(700, 1300)


def test_two_heaps_place_alike_by_chance_only():
    patterns = []
    for _ in range(2):
        kept, where = addresses(Heap("h"), 64)
        patterns.append([address % (16 * 1024) for address in where])
        del kept
    assert patterns[0] != patterns[1]


def test_each_slab_and_each_large_object_has_a_canary_of_its_own():
    """Behind an object of 24 bytes in a 32-byte slot stand 0 and seven bytes of the secret."""
    heap = Heap("h")
    kept, where = addresses(heap, 5000, 24)
    canaries = {}
    for address in where:
        slab = maps.mapping_at(address).start if address // FRAME not in canaries else None
        canary = capi.read(address + 24, 8)
        assert canary[0] == 0
        if slab is not None:
            canaries[address // FRAME] = canary
        assert canaries[address // FRAME] == canary  # one in a slab
    assert len(canaries) >= 3
    assert len(set(canaries.values())) == len(canaries)
    assert all(0 not in canary[1:] for canary in canaries.values())
    large, where = addresses(heap, 3, 100_000)
    assert len({capi.read(address + 100_001, 7) for address in where}) == len(large)
    del kept


@pytest.mark.parametrize("most", [0, 255])
def test_chunks_lie_at_random_distances(most):
    """In a fresh process: what was given back is used again where it is."""
    distances = json.loads(succeed(f"""
        import json
        from itertools import pairwise
        from secalloc import Heap, SecureBytes
        from support import capi, maps
        heap = Heap("h", gap_frames={most})
        keys = [SecureBytes(100_000, heap=heap) for _ in range(50)]
        starts = [maps.mapping_at(capi.address_of(key)).start for key in keys]
        print(json.dumps([b - a for a, b in pairwise(starts)]))
        """))
    if most == 0:
        assert set(distances) == {FRAME}
    else:
        assert len(set(distances)) > 20
        assert max(distances) > 64 * FRAME


@pytest.mark.parametrize(("places", "at_once"), [(0, True), (32, False)])
def test_a_freed_large_object_waits_at_random(places, at_once):
    heap = Heap("h", quarantine_large=places)
    waits = [rounds_until_reuse(heap, 100_000, 500) for _ in range(12)]
    assert (set(waits) == {1}) == at_once
    if not at_once:
        assert len(set(waits)) > 3


def test_the_quarantine_is_let_go_by_trim_and_where_memory_is_short():
    heap = Heap("h", hardening="full", limit="64 KiB")
    for _ in range(3):
        kept = [SecureBytes(1000, heap=heap) for _ in range(40)]
        del kept
        SecureBytes(50_000, heap=heap)
    heap.trim()
    assert heap.stats().committed == 0
    assert heap.is_valid()


def test_freed_slots_wait_in_quarantine_up_to_its_places():
    heap = Heap("h", quarantine=64)
    kept = [SecureBytes(32, heap=heap) for _ in range(300)]
    before = heap.stats()
    del kept
    after = heap.stats()
    assert before.slots_live == 300
    assert after.slots_live == 0
    assert before.slots_taken + 50 <= after.slots_taken <= before.slots_taken + 64 + 64


@pytest.mark.parametrize("size", [1, 32, 1000, 16_392])
@pytest.mark.parametrize("hardening", ["fast", "full"])
def test_freed_slots_come_back_under_either(hardening, size):
    heap = Heap("h", hardening=hardening)
    for _ in range(5000):
        SecureBytes(size, heap=heap)
    assert heap.stats().committed <= 1 << 20
    assert heap.is_valid()


KNOBS = ("quarantine", "quarantine_large", "warm_large", "gap_frames", "verify_whole")
DEFAULTS = {"fast": (0, 4, 4, 3, False), "full": (128, 32, 0, 15, True)}


@pytest.mark.parametrize("hardening", DEFAULTS)
def test_the_switch_sets_what_the_documentation_says(hardening):
    knobs = dict(zip(KNOBS, DEFAULTS[hardening], strict=True))
    assert Heap("h", hardening=hardening).hardening == knobs
    for name, value in knobs.items():
        described = configure.__doc__.partition(f"    {name} :")[2].partition(" :")[0]
        assert re.search(rf'"{hardening}" {value}\b', described)


def test_a_knob_beats_the_switch():
    heap = Heap("h", hardening="full", quarantine=7, gap_frames=0)
    assert heap.hardening == {"quarantine": 7, "quarantine_large": 32, "warm_large": 0, "gap_frames": 0,
                              "verify_whole": True}  # fmt: skip


@pytest.mark.parametrize("where", ["configure(hardening='full')", "os.environ['SECALLOC_HARDENING'] = 'full'"])
def test_the_default_heap_and_those_after_it_have_what_was_chosen(where):
    said = succeed(f"""
        import os
        if "environ" in {where!r}:
            {where}
        from secalloc import Heap, SecureBytes, TooLateError, configure
        from secalloc_ext.heapobject import DEFAULT
        {where}
        key = SecureBytes(32)
        assert DEFAULT.hardening["quarantine"] == Heap("later").hardening["quarantine"] == 128
        assert Heap("own", hardening="fast").hardening["quarantine"] == 0
        try:
            configure(hardening="fast")
        except TooLateError:
            print("too late")
        """)  # fmt: skip
    assert said == "too late\n"


@pytest.mark.parametrize(("knob", "value", "error"), [
    ("hardening", "medium", ValueError), ("quarantine", -1, ValueError), ("quarantine", 257, ValueError),
    ("quarantine", "many", TypeError), ("quarantine_large", 33, ValueError), ("gap_frames", 256, ValueError),
    ("gap_frames", 1.5, TypeError), ("warm_large", 9, ValueError), ("verify_whole", "no", TypeError),
    ("hardening", "", ValueError), ("backend", "", ValueError), ("limit", "", ValueError), ("backend", 0, ValueError),
])  # fmt: skip
def test_what_cannot_be_is_refused(knob, value, error):
    with pytest.raises(error):
        Heap("h", **{knob: value})
    with pytest.raises(error):
        configure(**{knob: value})
