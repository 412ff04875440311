"""What the tests of all attacks share: an attack is a class below `AttackOnHeldObjects`."""
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from secalloc.attacks import ATTACKS
from secalloc.rounds import Round
from support.victim import places

VICTIM = str(Path(__file__).with_name("victim.py"))
ORDINARY, OTHER = 65534, 65533  # user ids


def must_run(reason):
    """Nothing passes by not running: root can try every attack. What others are refused is skipped, with the reason."""
    if reason is not None and os.geteuid() == 0:
        pytest.fail(f"the attack did not run: {reason}")
    if reason is not None:
        pytest.skip(reason)


class Holders:
    """Processes that hold a kind of object: one for all attacks that it survives, with its samples in place."""

    def __init__(self):
        self._running, self._stack = {}, ExitStack()

    def close(self):
        self._stack.close()

    def outcome_of(self, attack, kind, *, leaked=False, uid=None, attacker=None, backend="secretmem"):
        """What an attack does to a process that has all its samples in place."""
        what = kind, leaked, uid, attacker, backend
        if ATTACKS[attack].fatal:
            with self._start(*what) as held:
                [outcome] = held.attack([attack])
        else:
            if what not in self._running:
                self._running[what] = self._stack.enter_context(self._start(*what))
            held = self._running.pop(what)  # unless it gets through
            [outcome] = held.attack([attack])
            held.check_in_place()
            self._running[what] = held
        assert outcome.attack == attack
        return outcome

    def _start(self, kind, leaked, uid, attacker, backend):
        return _InPlace([VICTIM, kind, "leaked" if leaked else "", backend], uid, attacker=attacker)

    def found_by(self, attack, kind, **options):
        """The names of the samples found."""
        outcome = self.outcome_of(attack, kind, **options)
        must_run(outcome.skipped)
        assert outcome.failed is None
        return set(outcome.found)


class _InPlace(Round):
    def __enter__(self):
        super().__enter__()
        assert self.missing == {}
        self.check_in_place()
        return self


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

    def test_it_finds_the_secret_once_that_is_copied_to_ordinary_memory(self, holders, kind):
        """The needles are right: it is the memory that hides the secret."""
        assert samples("secret") <= holders.found_by(self.attack, kind, leaked=True, uid=self.uid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
class AttackByTheSameOrdinaryUser(AttackOnHeldObjects):
    """Both processes are an ordinary user's, without any capability."""

    uid = ORDINARY
