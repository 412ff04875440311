"""C functions beside C functions, one pattern at one size.

The loops are compiled (secalloc_ext.loops). Beside the peers stand secalloc's own heaps with the hardening and hygiene
that cost something.
"""
import pytest

from secalloc import Heap
from secalloc.peers import find_peers, heap_peer
from secalloc_ext.loops import Stand

SIZES = [16, 32, 64, 256, 1024, 4096, 16384, 65536]
PEERS = [
    *find_peers(),
    heap_peer('secalloc hardening="full"', Heap("full", hardening="full")),
    heap_peer("secalloc flush_on_wipe", Heap("flushed", flush_on_wipe=True)),
]
SLOW = {"libsodium": 100, "one memfd_secret each": 100}  # where an object takes so much longer, rounds are shorter

every_peer = pytest.mark.parametrize("peer", PEERS, ids=[each.name for each in PEERS])


def operations_for(found, size, most):
    return max(1, min(most, (32 << 20) // size) // SLOW.get(found.name, 1))


@every_peer
@pytest.mark.parametrize("size", SIZES)
def test_one_object_at_a_time(there, measure, at_most, peer, size):
    found = there(peer)
    count = at_most(operations_for(found, size, 100_000))
    measure(f"made, filled and freed, {size} bytes", found.peer.pair, count, size, count)


@every_peer
@pytest.mark.parametrize("size", SIZES)
def test_a_thousand_live_freed_in_scattered_order(there, measure, at_most, peer, size):
    found = there(peer)
    live = at_most(min(1000, found.objects_max))
    rounds = at_most(operations_for(found, size, 20_000)) // live + 1
    batch = Stand(found.peer, size, live).batch
    measure(f"1,000 live, freed in scattered order, {size} bytes", batch, rounds * live, rounds)
