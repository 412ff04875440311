"""The attacker itself: that no attack lacks its tests, and that it tells not found, not allowed and broken apart."""
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from secalloc import attacks
from secalloc.attacks import Attack, Needle, Order, Target, attack
from secalloc.holder import address_of, intact, needle_of


def test_every_attack_has_a_test_file():
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    for name in attacks.ATTACKS:
        assert any(f'attack = "{name}"' in text for text in texts), name


def test_a_needle_is_coded_and_intact_while_its_bytes_stay():
    data = bytearray(os.urandom(32))
    needle = needle_of("some", data, address_of(data))
    assert needle.plain() == data
    assert bytes(data).hex() not in json.dumps(vars(needle))
    assert intact(needle)
    data[31] ^= 1
    assert not intact(needle)


def test_an_order_survives_its_journey():
    order = Order(Target(7, [Needle("a", "00", "ff", 9)]), ["ptrace"])
    assert Order.from_json(order.to_json()) == order


@pytest.mark.parametrize(
    ("error", "skipped", "failed"),
    [
        (attacks.CannotRun("no gdb"), "no gdb", None),
        (PermissionError(errno.EPERM, "Operation not permitted"), "not permitted", None),
        (OSError(errno.ENOSYS, "Function not implemented"), "not implemented", None),
        (ProcessLookupError(errno.ESRCH, "No such process"), None, "No such process"),
        (ValueError("odd"), None, "ValueError: odd"),
    ],
)
def test_only_a_refusal_is_a_reason_to_skip(monkeypatch, error, skipped, failed):
    def fail(target):
        raise error

    monkeypatch.setitem(attacks.ATTACKS, "odd", Attack("odd", "", fail))
    outcome = attack("odd", Target(os.getpid(), []))
    assert outcome.found == []
    assert (skipped or "") in (outcome.skipped or "")
    assert (failed or "") in (outcome.failed or "")
    assert (outcome.skipped is None, outcome.failed is None) == (skipped is None, failed is None)


@pytest.mark.parametrize("name", [name for name, attack in attacks.ATTACKS.items() if not attack.inside])
def test_an_attack_on_a_process_that_is_gone_fails(name):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    outcome = attack(name, Target(process.pid, [Needle("a", "00", "ff")]))
    assert outcome.skipped is None
    assert outcome.failed is not None
