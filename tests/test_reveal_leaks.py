"""What uses of revealed objects leave in ordinary memory: nothing of the secret, where consumers make no copy.

Another process reads all memory. The control of each use is the same one of an ordinary object, which must be found.
"""
from pathlib import Path

import pytest
from support.leaker import KEPT, TEXT_USES, USES

from secalloc.rounds import Round

LEAKER = str(Path(__file__).with_name("support") / "leaker.py")


def found(kind, use, ordinary):
    """What is found by reading all memory, and by looking at the very address."""
    with Round([LEAKER, kind, use, "ordinary" if ordinary else "revealed"]) as held:
        assert held.missing == {}
        held.check_in_place()
        outcomes = held.attack(["/proc/PID/mem", "process_vm_readv"])
    for outcome in outcomes:
        assert (outcome.skipped, outcome.failed) == (None, None)
    return [outcome.found for outcome in outcomes]


ALL = [(kind, use) for kind, uses in (("bytes", USES), ("text", TEXT_USES)) for use in uses]


@pytest.mark.parametrize(("kind", "use"), [each for each in ALL if each[1] not in KEPT])
def test_nothing_of_it_is_in_ordinary_memory(kind, use):
    assert found(kind, use, False) == [[], []]


@pytest.mark.parametrize(("kind", "use"), ALL)
def test_an_ordinary_one_is_found(kind, use):
    assert found(kind, use, True) == [["secret"], ["secret"]]


@pytest.mark.parametrize(("kind", "use"), [each for each in ALL if each[1] in KEPT])
def test_a_copy_that_the_caller_makes_is_found(kind, use):
    assert found(kind, use, False) == [["secret"], ["secret"]]
