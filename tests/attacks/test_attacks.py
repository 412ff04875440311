"""The attacker itself: that no attack lacks its tests, and that it tells not found, not allowed and broken apart."""
import ctypes
import errno
import json
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from secalloc import attacks
from secalloc.attacks import PAGE, Attack, Needle, Order, Target, attack
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


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_an_attack_on_a_process_that_is_gone_fails(name):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    outcome = attack(name, Target(process.pid, [Needle("a", "00", "ff")]))
    assert outcome.skipped is None
    assert outcome.failed is not None


def test_a_page_that_cannot_be_read_hides_no_other():
    """Five pages, the third of which is closed; the needles lie on both sides of it, one across two pages."""
    memory = mmap.mmap(-1, 5 * PAGE)
    first, last = b"f" * 32, b"l" * 32
    memory[:32] = memory[2 * PAGE - 32 : 2 * PAGE] = first
    memory[4 * PAGE - 16 : 4 * PAGE + 16] = last
    address = address_of(memory)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert libc.mprotect(address + 2 * PAGE, PAGE, 0) == 0

    def read(start, size):
        """As process_vm_readv(2): up to the first page that it cannot read."""
        closed = address + 2 * PAGE
        end = min(start + size, closed if start <= closed else address + 5 * PAGE)
        if start == end:
            raise OSError(errno.EFAULT, "Bad address")
        return ctypes.string_at(start, end - start)

    runs = list(attacks._runs(address, address + 5 * PAGE, read, 31))
    assert runs[0].count(first) == 2
    assert len(runs[0]) == 2 * PAGE
    assert any(last in run for run in runs[1:])


def test_a_needle_across_two_reads_is_found():
    data = os.urandom(3 * PAGE)
    runs = list(attacks._runs(0, len(data), lambda start, size: data[start : start + min(size, 1000)], 31))
    assert all(any(data[i : i + 32] in run for run in runs) for i in range(len(data) - 32))
