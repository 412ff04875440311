"""C functions beside C functions: each group is one pattern at one size, its rows are to be read as ratios in one run.

The loops are compiled (secalloc_ext.loops); a row's time is that of a whole loop, `operations` of it. Beside the peers
stand secalloc's own heaps with the hardening and hygiene that cost something.
"""
import pytest

from secalloc import Heap
from secalloc.peers import Absent, find_peers, heap_peer
from secalloc_ext.loops import Stand

SIZES = [16, 32, 64, 256, 1024, 4096, 16384, 65536]
PEERS = [
    *find_peers(),
    heap_peer('secalloc hardening="full"', Heap("full", hardening="full")),
    heap_peer("secalloc flush_on_wipe", Heap("flushed", flush_on_wipe=True)),
]
SLOW = {"libsodium": 100}  # where an object takes so much longer, rounds are so much shorter


@pytest.fixture(params=PEERS, ids=[each.name for each in PEERS])
def found(request, benchmark):
    """A peer that is there; its version and file stand in the results."""
    if isinstance(request.param, Absent):
        pytest.skip(request.param.reason)
    benchmark.extra_info.update(version=request.param.version, path=request.param.path)
    return request.param


def measure(benchmark, loop, operations, *arguments):
    benchmark.extra_info["operations"] = operations
    try:
        benchmark.pedantic(loop, arguments, rounds=15, warmup_rounds=2)
    except MemoryError:
        pytest.skip("more than the peer's pool holds")


def operations_for(found, size, most):
    return max(1, min(most, (32 << 20) // size) // SLOW.get(found.name, 1))


@pytest.mark.parametrize("size", SIZES)
def test_one_object_at_a_time(benchmark, found, size):
    benchmark.group = f"made, filled and freed, {size} bytes"
    count = operations_for(found, size, 100_000)
    measure(benchmark, found.peer.pair, count, size, count)


@pytest.mark.parametrize("size", SIZES)
def test_a_thousand_live_freed_in_scattered_order(benchmark, found, size):
    benchmark.group = f"1,000 live, freed in scattered order, {size} bytes"
    live = min(1000, found.objects_max)
    rounds = operations_for(found, size, 20_000) // live + 1
    measure(benchmark, Stand(found.peer, size, live).batch, rounds * live, rounds)
