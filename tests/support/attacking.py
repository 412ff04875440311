"""What the tests of all attacks share: an attack is a class below `AttackOnHeldObjects`."""
import os
from pathlib import Path

import pytest

from secalloc.attacks import ATTACKS
from secalloc.rounds import Round
from support.victim import places

VICTIM = str(Path(__file__).with_name("victim.py"))
ORDINARY = 65534  # a user id


def must_run(reason):
    """Nothing passes by not running: root can try every attack. What others are refused is skipped, with the reason."""
    if reason is not None and os.geteuid() == 0:
        pytest.fail(f"the attack did not run: {reason}")
    if reason is not None:
        pytest.skip(reason)


def outcome_of(attack, kind, *, leaked=False, uid=None, backend="secretmem"):
    """What the attack did to a process that had all its samples in place."""
    with Round([VICTIM, kind, "leaked" if leaked else "", backend], uid) as held:
        assert held.missing == {}
        held.check_in_place()
        [outcome] = held.attack([attack])
        if not ATTACKS[attack].fatal:
            held.check_in_place()
    assert outcome.attack == attack
    return outcome


def found_by(attack, kind, **options):
    """The names of the samples found."""
    outcome = outcome_of(attack, kind, **options)
    must_run(outcome.skipped)
    assert outcome.failed is None
    return set(outcome.found)


def samples(name):
    return {f"{name} {place}" for place in places(0)}


class AttackOnHeldObjects:
    """Both processes are this user's.

    `attack`: its name in `ATTACKS`; `reaches`: the copies that it must find, for its result to mean anything.
    The fixtures are in `tests/attacks/conftest.py`.
    """

    attack = ""
    reaches = ("ordinary", "shared")
    uid = None

    def test_it_finds_the_ordinary_copies(self, found):
        assert set().union(*map(samples, self.reaches)) <= found

    def test_it_finds_nothing_of_the_secret_object(self, found):
        assert not samples("secret") & found

    def test_it_finds_the_secret_once_that_is_copied_to_ordinary_memory(self, kind):
        """The needles are right: it is the memory that hides the secret."""
        assert samples("secret") <= found_by(self.attack, kind, leaked=True, uid=self.uid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
class AttackByTheSameOrdinaryUser(AttackOnHeldObjects):
    """Both processes are an ordinary user's, without any capability."""

    uid = ORDINARY
