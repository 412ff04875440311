"""How much of a limit can be used: of the default RLIMIT_MEMLOCK, 8 MiB, and of a heap's own."""
from itertools import permutations

import pytest
from support.children import succeed

from secalloc import Heap, HeapLimitError, SecureBytes

AS_ORDINARY_USER = """
import secalloc
from secalloc import SecureBytes
from support import capi, hostile
hostile.become_ordinary_user()
hostile.limit("RLIMIT_MEMLOCK", 8 << 20)
"""


def test_one_lone_key_is_charged_at_most_64_kib():
    succeed(
        AS_ORDINARY_USER
        + """
key = SecureBytes.random(32)
assert secalloc.stats().committed <= 64 << 10, secalloc.stats()
"""
    )


def test_150_000_secrets_of_32_bytes_fit_and_the_heap_goes_on_after_the_last():
    succeed(
        AS_ORDINARY_USER
        + """
live = []
while (p := capi.malloc(32)) is not None:
    live.append(p)
assert len(live) >= 150_000, len(live)
for p in live[::2]:
    capi.free(p)
again = [capi.malloc(32) for _ in live[::2]]
assert None not in again
assert secalloc.stats().live == len(live)
for p in [*live[1::2], *again]:
    capi.free(p)
assert secalloc.stats().live == 0 and len(SecureBytes(4 << 20)) == 4 << 20
"""
    )


@pytest.mark.parametrize("hardening", ["fast", "full"])
@pytest.mark.parametrize(("old", "new"), list(permutations([16, 512, 2_048, 16_000, 40_000], 2)))
def test_what_was_freed_of_one_size_is_room_for_another(old, new, hardening):
    """Slots that the thread keeps at hand, or in quarantine, are no reason to refuse."""
    heap = Heap("small", limit="64 KiB", hardening=hardening)
    for size in (old, new, old):
        keys = []
        with pytest.raises(HeapLimitError):
            keys.extend(SecureBytes(size, heap=heap) for _ in range(5_000))
        assert len(keys) * size > 16_000
        keys.clear()
        assert heap.is_valid()
