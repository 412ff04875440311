"""What the suites share. Each group of rows is to be read as ratios within one run.

    .venv/bin/pip install '.[bench,peers]' && .venv/bin/pytest benchmarks

With --benchmark-disable every loop runs once, and where it is about many objects, over few.
"""
import pytest

from secalloc.peers import Absent

ROUNDS, WARM_UP = 15, 2
FEW = 1_000


@pytest.fixture
def there(benchmark):
    """Checks that a peer is there; its version and file stand in the results."""

    def check(peer):
        if isinstance(peer, Absent):
            pytest.skip(f"{peer.name}: {peer.reason}")
        benchmark.extra_info.update(version=peer.version, path=peer.path)
        return peer

    return check


@pytest.fixture
def measure(benchmark):
    """Times a loop of so many operations; a row's time is that of the whole loop."""

    def run(group, loop, operations, *arguments):
        benchmark.group = group
        benchmark.extra_info["operations"] = operations
        try:
            benchmark.pedantic(loop, arguments, rounds=ROUNDS, warmup_rounds=WARM_UP)
        except MemoryError as error:
            pytest.skip(str(error))

    return run


@pytest.fixture
def at_most(benchmark):
    """So many objects; few of them where nothing is timed."""
    return lambda count: min(count, FEW) if benchmark.disabled else count
