"""What `secalloc bench` measures with: samples in turn, loops in C, traces, peers, and counts of locked pages."""
import itertools
import os
import subprocess
import sys

import pytest
from support import maps

from secalloc import Heap, SecureBytes, density
from secalloc.curves import by_live, by_size
from secalloc.holder import address_of
from secalloc.locked import locked_bytes, locked_ranges
from secalloc.measure import compare
from secalloc.peers import HARDENED_MALLOC, Absent, find_peer, heap_peer
from secalloc.pypeers import find_python_peers
from secalloc_ext import loops
from secalloc_ext.loops import Peer, Stand, Trace

KIB_256 = 256 << 10


def test_both_are_measured_in_turn_and_the_first_of_each_does_not_count():
    calls = []

    def sample(name, first, later):
        costs = itertools.chain([first], itertools.cycle([later]))
        return lambda: (calls.append(name), next(costs))[1]

    measured = compare(sample("ours", 1_000.0, 2.0), sample("theirs", 1.0, 4.0), 4)
    assert (measured.ours, measured.theirs, measured.ratio, measured.low, measured.high) == (2.0, 4.0, 0.5, 0.5, 0.5)
    assert calls == ["ours", "theirs", *2 * ["ours", "theirs", "theirs", "ours"]]


def test_the_ratio_is_the_median_of_the_rounds_and_the_quartiles_are_around_it():
    ours = itertools.chain([0.0], [1.0, 2.0, 3.0, 4.0, 100.0])
    measured = compare(lambda: next(ours), lambda: 1.0, 5)
    assert (measured.low, measured.ratio, measured.high) == (2.0, 3.0, 4.0)


@pytest.mark.parametrize("name", ["secalloc", "malloc + explicit_bzero", "one memfd_secret each"])
def test_a_peer_s_objects_can_be_used_and_come_back(name):
    peer = find_peer(name).peer
    pointers = [peer.make(32) for _ in range(10)]
    assert 0 not in pointers
    assert len(set(pointers)) == 10
    for pointer in pointers:
        peer.drop(pointer, 32)
    peer.pair(32, 10)
    Stand(peer, 32, 10).batch(2)


def test_a_bare_memfd_secret_is_secret_and_gone_when_dropped():
    peer = Peer(*loops.bare_functions(), "at")
    pointer = peer.make(32)
    assert maps.mapping_at(pointer).backend == "secretmem"
    peer.drop(pointer, 32)
    assert maps.mapping_at(pointer) is None


def test_wiping_zeroes_all_of_it():
    for zero in (loops.wipe, loops.memset):
        for data in (bytearray(b"k" * 1_000), SecureBytes(b"k" * 1_000)):
            assert zero(data, 1) > 0
            assert data == bytes(1_000)


def test_what_is_called_is_called_so_many_times():
    calls = []
    loops.call(calls.append, 7, 5)
    assert calls == [7] * 5
    with pytest.raises(ZeroDivisionError):
        loops.call(lambda n: n / 0, 1, 1)


def test_a_trace_is_the_same_in_every_heap_and_counts_what_lives():
    heaps = [Heap("traced"), Heap("traced too", hardening="full")]
    traces = [Trace(Peer(heap=heap), 500, 16, 4_096) for heap in heaps]
    lives = []
    for share in (0.9, 0.3, 0.9):
        for trace, heap in zip(traces, heaps, strict=True):
            trace.run(5_000, share)
            assert (trace.live, trace.live_bytes) == (heap.stats().live, heap.stats().live_bytes)
        assert len({(trace.live, trace.live_bytes) for trace in traces}) == 1
        lives.append(traces[0].live)
    assert lives[0] > 400 > 200 > lives[1]
    assert 400 < traces[0].live_bytes / traces[0].live < 1_100  # the mean of the scale is 735
    del trace, traces
    assert [heap.stats().live for heap in heaps] == [0, 0]


def test_a_trace_that_gets_no_memory_says_so_and_leaves_nothing():
    heap = Heap("small", limit="64 KiB")
    trace = Trace(Peer(heap=heap), 5_000, 16, 4_096)
    with pytest.raises(MemoryError):
        trace.run(50_000, 0.9)
    del trace
    assert heap.stats().live == 0
    assert heap.is_valid()


def test_locked_ranges_hold_secrets_and_nothing_ordinary():
    key, plain = SecureBytes(100_000), bytearray(100_000)
    ranges = locked_ranges()

    def around(data):
        return [each for each in ranges if each.start <= address_of(data) < each.end]

    assert len(around(key)) == 1
    assert around(plain) == []
    assert locked_bytes() == sum(each.end - each.start for each in ranges)
    before = sum(each.resident for each in ranges)
    fresh = SecureBytes(b"k" * (1 << 20))
    assert sum(each.resident for each in locked_ranges()) - before >= len(fresh)


def test_twice_the_limit_holds_twice_the_secrets():
    small, large = (density.measure("secalloc", limit) for limit in (KIB_256, 2 * KIB_256))
    assert small.locked <= KIB_256 < large.locked <= 2 * KIB_256
    assert 1.8 < large.secrets / small.secrets < 2.2


def test_one_memfd_secret_each_is_a_page_each():
    assert density.measure("one memfd_secret each", KIB_256).secrets == KIB_256 // 4096


def test_ordinary_memory_counts_as_nothing():
    """The control: without the look at the kernel's flags, malloc would win."""
    found = density.measure("malloc + explicit_bzero", KIB_256)
    assert found == Absent("malloc + explicit_bzero", f"it locked nothing within {KIB_256} bytes")


def test_a_peer_that_is_not_there_says_why(monkeypatch):
    monkeypatch.delenv(HARDENED_MALLOC, raising=False)
    assert HARDENED_MALLOC in density.measure("hardened_malloc", KIB_256).reason
    monkeypatch.setenv(HARDENED_MALLOC, "/nowhere.so")
    assert "/nowhere.so" in density.measure("hardened_malloc", KIB_256).reason


def test_a_peer_is_set_up_once_a_process():
    """A second time OpenSSL refuses its pool."""
    assert find_peer("OpenSSL secure heap") is find_peer("OpenSSL secure heap")


@pytest.mark.skipif(os.geteuid() != 0, reason="the limit holds for an ordinary user")
def test_a_limit_that_does_not_hold_is_no_count():
    command = [sys.executable, "-P", "-m", "secalloc.density", "secalloc", str(KIB_256), "-1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"the limit of {KIB_256} bytes does not hold here: ")


def test_a_curve_ends_where_a_peer_has_no_more_memory():
    peers = [heap_peer("secalloc", Heap("small", limit="64 KiB")), Absent("libgcrypt", "not here")]
    curves = by_live(peers, 2, (10, 100, 10_000, 20_000))
    assert [live for live, _ in curves.points["secalloc"]] == [10, 100]
    assert curves.left_out["secalloc"].startswith("none from 10,000 on: ")
    assert curves.left_out["libgcrypt"] == "not here"
    assert [size for size, _ in by_size(peers, 2, (16, 4_096)).points["secalloc"]] == [16, 4_096]


def test_python_peers_answer_what_they_were_given_or_say_why_not():
    ours, *others = find_python_peers()
    assert isinstance(ours.cycle(b"secret"), SecureBytes)
    assert "bytearray, not wiped" in [each.name for each in others]
    for peer in others:
        if isinstance(peer, Absent):
            assert peer.reason
        else:
            data = b"x" * 32
            peer.cycle(data)
            assert data == b"x" * 32
            assert peer.version
