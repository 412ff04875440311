"""Many objects: what one costs while others live, what memory a trace retains, how many fit into the memlock limit."""
import pytest

from secalloc import Heap, density
from secalloc.curves import LIVES, POOLS
from secalloc.locked import locked_ranges
from secalloc.peers import Absent, find_peer
from secalloc_ext.loops import Peer, Stand, Trace

MEMLOCK = 8 << 20
MEMLOCK_FEW = 256 << 10  # where nothing is timed: libgcrypt takes minutes to fill 8 MiB


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("live", LIVES)
def test_one_of_many_is_replaced(there, measure, at_most, name, live):
    found = there(find_peer(name))
    live = at_most(live)
    if live > found.objects_max:
        pytest.skip(f"{name} takes too long with {live:,} live objects")
    turns = max(1, at_most(10_000) // live)
    churn = Stand(found.peer, 32, live).churn
    measure(f"one of {live:,} live objects of 32 bytes replaced", churn, turns * live, turns)


@pytest.mark.parametrize("hardening", ["fast", "full"])
def test_memory_retained_after_a_trace_of_mixed_sizes(benchmark, at_most, hardening):
    """The time is the trace's. `committed` and `resident` are for each live byte: when the live set has grown last, and
    when it has shrunk and the heap is trimmed."""
    benchmark.group = "a million steps, 16 to 4,096 bytes"
    heap = Heap("trace", hardening=hardening)
    before = sum(each.resident for each in locked_ranges())
    trace = Trace(Peer(heap=heap), at_most(20_000), 16, 4096)

    def told(when):
        resident = sum(each.resident for each in locked_ranges()) - before
        benchmark.extra_info[when] = {"committed": heap.stats().committed / trace.live_bytes,
                                      "resident": resident / trace.live_bytes}  # fmt: skip

    def swings():
        for swing in range(9):
            trace.run(at_most(111_111), 0.3 if swing % 2 else 0.9)

    benchmark.pedantic(swings, rounds=1)
    told("grown")
    trace.run(at_most(111_111), 0.3)
    heap.trim()
    told("shrunk and trimmed")


@pytest.mark.parametrize("name", density.CONTESTANTS)
def test_secrets_within_the_memlock_limit(benchmark, there, name):
    """The time is that of a process that fills it; `secrets` is what is asked for."""
    there(find_peer(name))
    memlock = MEMLOCK_FEW if benchmark.disabled else MEMLOCK
    benchmark.group = "secrets of 32 bytes within the memlock limit"
    counted = benchmark.pedantic(density.measure, (name, memlock), rounds=1)
    if isinstance(counted, Absent):
        pytest.skip(f"{name}: {counted.reason}")
    benchmark.extra_info.update(secrets=counted.secrets, memlock=memlock)
