"""Every slot of every size class, in pieces of every length: found by its address, apart from its neighbours."""
import random
from itertools import pairwise

import pytest
from support import capi
from support.fixtures import nothing_leaks  # noqa: F401

from secalloc_ext.heapobject import DEFAULT, slot_bytes

PIECES = [16384, 32768, 65536, 131072 - 4096]  # a class's first slabs
SIZES = [size for size in range(16393) if slot_bytes(size) != slot_bytes(size + 1)]  # the largest of each class


@pytest.mark.parametrize("lined", [False, True], ids=["plain", "lined"])
@pytest.mark.parametrize("size", SIZES)
def test_every_slot_is_found_by_its_address(size, lined):
    slot = slot_bytes(size, lined=lined)
    count = sum(piece // slot for piece in PIECES)
    objects = [capi.aligned_alloc(64, size) if lined else capi.malloc(size) for _ in range(count)]
    contents = {p: i.to_bytes(8, "little") * (size // 8) for i, p in enumerate(objects)}
    for p, content in contents.items():
        capi.write(p, content)
    addresses = sorted(objects)
    assert all(b - a >= slot for a, b in pairwise(addresses))
    assert DEFAULT.is_valid()
    random.Random(size).shuffle(addresses)
    for p in addresses:
        assert capi.usable_size(p) == size
        assert capi.read(p, size) == contents[p]
        capi.free(p)
