"""What `secalloc bench` measures: each row a cost of ours beside the same of another's, with its target.

The ratio is ours / theirs. Of a cost, one below 1 is in our favour; of a bandwidth (`more_is_better`), one above 1.
`target` is what the project wants, `must` what it may not miss.
"""
from __future__ import annotations

import hmac
import shutil
import subprocess
import sys
import threading
import time
import timeit
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from secalloc import Heap, SecureBytes, handshakes, scope, workloads
from secalloc.locked import locked_ranges
from secalloc.measure import Measured, Sample, compare
from secalloc.peers import Absent, Found, find_peers
from secalloc.programs import Programs
from secalloc.pypeers import find_python_peers
from secalloc_ext import loops
from secalloc_ext.loops import Peer, Stand, Trace

__all__ = ["Row", "rows"]

SIZES = (16, 32, 64, 128, 256, 512, 1024)
LARGER = (4096, 16384, 65536)
BATCH = 1000
MILLION = 10**6
TRACE_STEPS, TRACE_SWINGS, TRACE_PLACES = MILLION, 9, 20_000
# Target and must of one object at a time, and with 1,000 live.
PEER_GOALS = {
    "mimalloc + explicit_bzero": ((1.0, 1.5), (1.0, 1.5)), "hardened_malloc": ((0.4, 0.7), (0.4, 0.7)),
    "libgcrypt": ((1 / 3, 1 / 2), (1 / 100, 1 / 50)), "OpenSSL secure heap": ((1 / 50, 1 / 30), (1 / 4, 1 / 2)),
    "libsodium": ((1 / 1500, 1 / 1000), (1 / 1500, 1 / 1000)),
    "one memfd_secret each": ((1 / 1500, 1 / 1000), (1 / 1500, 1 / 1000)),
}
FEWER = {"libsodium": 1000, "one memfd_secret each": 1000, "OpenSSL secure heap": 50, "libgcrypt": 10}  # per round
PYTHON_GOALS = {
    "bytearray, not wiped": (0.8, 1.0), "bytearray + zeroize": (0.1, 0.2),
    "bytearray + SecureBytes.clearmem": (0.8, 1.0), "bytes + SecureString.clearmem": (0.8, 1.0),
    "sodium_malloc by ctypes": (1 / 150, 1 / 100), "PyNaCl": (1 / 150, 1 / 100),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """`measure(rounds)` does it; `unit` is of both costs; `skipped` says why it cannot be done here."""

    group: str
    what: str
    against: str
    unit: str
    target: float
    must: float
    measure: Callable[[int], Measured] | None = None
    skipped: str | None = None
    more_is_better: bool = False

    @property
    def name(self) -> str:
        return f"{self.group}: {self.what}"


# --- C functions ------------------------------------------------------------------------------------------------------

def _pairs(size: int) -> int:
    return max(100, min(20_000, (8 << 20) // size))


def _pair(peer: Peer, size: int, fewer: int = 1) -> Sample:
    count = max(20, _pairs(size) // fewer)
    return lambda: peer.pair(size, count) / count


def _batch(peer: Peer, size: int, fewer: int = 1, live: int = BATCH) -> Sample:
    stand = Stand(peer, size, live)
    rounds = max(1, _pairs(size) // live // fewer)
    return lambda: stand.batch(rounds) / rounds / live


def _churn(peer: Peer, size: int) -> Sample:
    """The first sample, which `compare` does not count, puts a million objects there."""
    stand = Stand(peer, size, MILLION)
    return lambda: stand.churn(1) / MILLION


def _hand_over(peer: Peer, size: int) -> Sample:
    count = 100_000
    return lambda: peer.hand_over(size, count) / count


def _threads(peer: Peer, size: int, threads: int) -> Sample:
    """Nanoseconds an operation, of `threads` at once, each on objects of its own."""
    stands = [Stand(peer, size, BATCH, seed=i) for i in range(threads)]
    rounds = 200

    def sample() -> float:
        gate = threading.Barrier(threads)
        times: list[float] = []

        def work(stand: Stand) -> None:
            gate.wait()
            times.append(stand.batch(rounds))

        workers = [threading.Thread(target=work, args=[stand]) for stand in stands]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return max(times) / rounds / BATCH / threads

    return sample


def _c_rows(ours: Peer, glibc: Found) -> Iterator[Row]:
    def row(group: str, what: str, sample: Callable[..., Sample], goals: tuple[float, float], *arguments: int) -> Row:
        return Row(group, what, glibc.name, "ns", *goals, lambda rounds: compare(
            sample(ours, *arguments), sample(glibc.peer, *arguments), rounds))  # fmt: skip

    for size in SIZES:
        yield row("one object at a time", f"{size} B", _pair, (1.0, 1.5), size)
    for size in SIZES:
        yield row("1,000 live, scattered frees", f"{size} B", _batch, (1.0, 1.5), size)
    for size in LARGER:
        yield row("one object at a time", f"{size} B", _pair, (1.2, 1.4), size)
    yield row("1,000,000 live, scattered frees", "32 B", _batch, (0.75, 1.0), 32, 1, MILLION)
    yield row("1,000,000 live, replaced one by one", "32 B", _churn, (0.75, 1.0), 32)
    yield row("made in one thread, freed in another", "32 B", _hand_over, (0.5, 1.0), 32)
    yield Row("two threads", "32 B", "one thread", "ns", 1 / 1.9, 1 / 1.7, lambda rounds: compare(
        _threads(ours, 32, 2), _threads(ours, 32, 1), rounds))  # fmt: skip


def _peer_rows(ours: Peer, others: list[Found | Absent]) -> Iterator[Row]:
    for other in others:
        kinds = ("one object at a time", _pair), ("1,000 live, scattered frees", _batch)
        for (group, sample), goals in zip(kinds, PEER_GOALS[other.name], strict=True):
            if isinstance(other, Absent):
                yield Row(group, "32 B", other.name, "ns", *goals, skipped=other.reason)
            else:
                yield Row(group, "32 B", other.name, "ns", *goals, _against(ours, other, sample))


def _against(ours: Peer, other: Found, sample: Callable[..., Sample]) -> Callable[[int], Measured]:
    fewer = FEWER.get(other.name, 1)
    return lambda rounds: compare(sample(ours, 32), sample(other.peer, 32, fewer), rounds)


# --- Python -----------------------------------------------------------------------------------------------------------

def _statement(statement: str, names: Mapping[str, object], count: int = 20_000) -> Sample:
    timer = timeit.Timer(statement, globals=dict(names))
    return lambda: timer.timeit(count) / count * 1e9


def _python_rows() -> Iterator[Row]:
    key, plain, source = SecureBytes(32), bytearray(32), bytes(range(32))
    same = {"key": SecureBytes(source), "other": SecureBytes(source)}
    alike = {"key": bytearray(source), "other": bytearray(source), "equal": hmac.compare_digest}
    for what, theirs, statement in (
        ("SecureBytes(32)", "bytearray(32)", "make(32)"),
        ("SecureBytes(b)", "bytearray(b)", "make(source)"),
    ):
        yield Row("Python", what, theirs, "ns", 0.8, 1.0, _statements(
            (statement, {"make": SecureBytes, "source": source}), (statement, {"make": bytearray, "source": source})))
    for what, statement in (("key[4:12]", "key[4:12]"), ("key[7]", "key[7]"), ("memoryview(key)", "memoryview(key)")):
        yield Row("Python", what, "bytearray", "ns", 1.0, 1.3,
                  _statements((statement, {"key": key}), (statement, {"key": plain})))  # fmt: skip
    pieces = b",".join([bytes(range(65, 97))] * 32)
    for what, statement, content in (
        ("find 4 bytes in 1 KiB", "key.find(b'last')", pieces + b"last"),
        ("split into 32 of 32 B", "key.split(b',')", pieces),
        ("hex of 32 B", "key.hex()", source), ("hex of 1 KiB", "key.hex()", pieces),
    ):  # fmt: skip
        yield Row("Python", what, "bytearray", "ns", 1.0, 1.3, _statements(
            (statement, {"key": SecureBytes(content)}), (statement, {"key": bytearray(content)})))
    text, ascii_key = bytearray(source), SecureBytes(source)
    yield Row("Python", "key.reveal()", "bytes(bytearray)", "ns", 0.8, 1.0,
              _statements(("key.reveal()", {"key": ascii_key}), ("bytes(text)", {"text": text})))  # fmt: skip
    yield Row("Python", "key.reveal_str()", "bytearray.decode()", "ns", 1.5, 2.0,
              _statements(("key.reveal_str()", {"key": ascii_key}), ("text.decode()", {"text": text})))  # fmt: skip
    yield Row("Python", "key == other", "hmac.compare_digest", "ns", 1.0, 1.3,
              _statements(("key == other", same), ("equal(key, other)", alike)))  # fmt: skip


Timed = tuple[str, Mapping[str, object]]  # a statement and the names in it


def _statements(ours: Timed, theirs: Timed) -> Callable[[int], Measured]:
    return lambda rounds: compare(_statement(*ours), _statement(*theirs), rounds)


def _python_peer_rows() -> Iterator[Row]:
    data = bytes(range(32))
    ours = {"cycle": SecureBytes, "data": data}
    for other in find_python_peers()[1:]:
        what = "Python", "32 B made and let go", other.name, "ns", *PYTHON_GOALS[other.name]
        if isinstance(other, Absent):
            yield Row(*what, skipped=other.reason)
        else:
            theirs = {"cycle": other.cycle, "data": data}
            yield Row(*what, _statements(("cycle(data)", ours), ("cycle(data)", theirs)))


def _array_rows() -> Iterator[Row]:
    try:
        import numpy as np

        import secalloc.numpy as snp
    except ImportError as error:
        yield Row("a * 2 + 1", "arrays", "numpy's allocator", "ns", 0.9, 1.1, skipped=str(error))
        return

    def row(group: str, what: str, goals: tuple[float, float], statement: str, shape: int | tuple[int, ...],
            count: int) -> Row:  # fmt: skip
        """The statement, over an ordinary array and over a secret one in a block."""

        def measure(rounds: int) -> Measured:
            theirs = _statement(statement, {"a": np.ones(shape)}, count)
            inner = _statement(statement, {"a": snp.ones(shape)}, count)

            def ours() -> float:
                with snp.secure_arrays():
                    return inner()

            return compare(ours, theirs, rounds)

        return Row(group, what, "numpy's allocator", "ns", *goals, measure)

    for size, label in ((4 << 10, "4 KiB"), (1 << 20, "1 MiB"), (64 << 20, "64 MiB")):
        yield row("a * 2 + 1", label, (0.9, 1.1), "a * 2 + 1", size // 8, max(1, min(2000, (16 << 20) // size)))
    each = "for row in a: (row * 2 + 1 - row) * row"
    yield row("many small temporaries", "1,000 times 64 elements", (1.0, 1.2), each, (1_000, 64), 20)
    yield row("many small temporaries", "1,000 x 64 elements", (1.0, 1.2), "(a * 2 + 1 - a) * a", (1_000, 64), 200)
    block = _statement("with secure_arrays(): pass", {"secure_arrays": snp.secure_arrays})
    yield Row("secure_arrays()", "entered and left", "1 us", "ns", 0.6, 1.0,
              lambda rounds: compare(block, lambda: 1000.0, rounds))  # fmt: skip


# --- Python's own objects ---------------------------------------------------------------------------------------------

def _scope_rows() -> Iterator[Row]:
    def measure(mode: str) -> Callable[[int], Measured]:
        def measure_rounds(rounds: int) -> Measured:
            with closing(Programs("secalloc.workloads", workloads.MODES)) as programs:
                ours, plain = (lambda mode=mode: workloads.mean(programs.each(mode)) for mode in (mode, "plain"))
                return compare(ours, plain, 3 * rounds)

        return measure_rounds

    what = f"{len(workloads.WORKLOADS)} small programs, geometric mean"
    yield Row("scope(): hooks in place, no scope", what, "no hooks", "ns", 1.0, 1.03, measure("hooks"))
    yield Row("scope(): all in a scope", what, "no hooks", "ns", 1.0, 1.1, measure("scope"))
    for stack, microseconds in ((True, 100), (False, 15)):
        block = _statement(f"with scope(stack={stack}): pass", {"scope": scope}, 2_000)
        yield Row("scope(): entered and left", f"stack={stack}", f"{microseconds} us", "ns", 0.5, 1.0,
                  partial(compare, block, partial(float, 1000 * microseconds)))  # fmt: skip


# --- OpenSSL ----------------------------------------------------------------------------------------------------------

def _openssl_rows() -> Iterator[Row]:
    """The server's part alone, in nanoseconds; 1/0.9 of the time is 0.9 of the handshakes in a second."""
    def measure(what: str) -> Callable[[int], Measured]:
        def measure_rounds(rounds: int) -> Measured:
            with TemporaryDirectory() as folder:
                handshakes.make_keys(Path(folder))
                with closing(Programs("secalloc.handshakes", handshakes.MODES, folder)) as programs:
                    ours, plain = (lambda mode=mode: programs.each(mode)[what] for mode in ("secalloc", "plain"))
                    return compare(ours, plain, rounds)

        return measure_rounds

    skipped = None if shutil.which("openssl") else "the openssl program is not here, which makes the keys"
    for kind in handshakes.KEYS:
        yield Row("TLS server: a handshake", kind, "ordinary memory", "ns", 1.0, 1 / 0.9, measure(kind), skipped)
    yield Row("TLS server", handshakes.BULK, "ordinary memory", "ns", 1.0, 1 / 0.95, measure(handshakes.BULK), skipped)


# --- memory -----------------------------------------------------------------------------------------------------------

def _committed_per_object(rounds: int) -> Measured:
    """Not a matter of time: bytes of secret memory for each live object of 32 bytes, beside the bytes themselves."""
    heap = Heap("density")
    kept = [SecureBytes(32, heap=heap) for _ in range(200_000)]
    each = heap.stats().committed / len(kept)
    return Measured(each, 1.0, each, each, each)


def _resident_locked() -> int:
    return sum(each.resident for each in locked_ranges())


def _retained(what: str) -> Callable[[int], Measured]:
    """Bytes of secret memory after a trace, beside the bytes that live. Every row makes the same steps."""

    def measure(rounds: int) -> Measured:
        heap = Heap("trace")
        before = _resident_locked()
        trace = Trace(Peer(heap=heap), TRACE_PLACES, 16, 4096)
        for swing in range(TRACE_SWINGS):  # the live set grows and shrinks, and has grown in the end
            trace.run(TRACE_STEPS // TRACE_SWINGS, 0.3 if swing % 2 else 0.9)
        held = heap.stats().committed if what == "committed" else _resident_locked() - before
        each = held / trace.live_bytes
        return Measured(each, 1.0, each, each, each)

    return measure


def _memory_rows() -> Iterator[Row]:
    yield Row("memory", "committed for each live object of 32 B", "1 byte", "B", 48, 56, _committed_per_object)
    for what in ("committed", "resident"):
        yield Row("memory", f"{what} after a million steps", "1 live byte", "B", 1.3, 1.6, _retained(what))


def _wipe_rows() -> Iterator[Row]:
    """By bandwidth: more is better."""
    size, count = 1 << 20, 20

    def measure(rounds: int) -> Measured:
        secret, plain = SecureBytes(size), bytearray(size)
        return compare(lambda: size * count / loops.wipe(secret, count),
                       lambda: size * count / loops.memset(plain, count), rounds)  # fmt: skip

    yield Row("wipe", "1 MiB, bandwidth", "memset", "GB/s", 1.0, 0.9, measure, more_is_better=True)


# --- first touches ----------------------------------------------------------------------------------------------------

FIRST = 100_000
FIRST_SECRETS = f"""
import sys, secalloc
from secalloc.peers import find_peer
from secalloc_ext.loops import Stand
secalloc.configure(prefault=sys.argv[1] == "True")
stand = Stand(find_peer("secalloc").peer, 32, {FIRST})
print(stand.churn(1) / {FIRST})
"""


def _reserved(threads: int) -> Sample:
    def sample() -> float:
        heap = Heap("reserved")
        since = time.perf_counter()
        heap.reserve("256 MiB", threads=threads)
        return (time.perf_counter() - since) * 1e3

    return sample


def _first_secrets(prefault: bool) -> Sample:
    command = [sys.executable, "-P", "-c", FIRST_SECRETS, str(prefault)]
    return lambda: float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _touch_rows() -> Iterator[Row]:
    yield Row("first touches", "256 MiB reserved, two threads", "one thread", "ms", 1 / 1.9, 1 / 1.6,
              lambda rounds: compare(_reserved(2), _reserved(1), min(rounds, 7)))  # fmt: skip
    yield Row("first touches", "100,000 secrets of a new process, ahead", "not ahead", "ns", 1 / 2, 1 / 1.4,
              lambda rounds: compare(_first_secrets(True), _first_secrets(False), rounds))  # fmt: skip


def rows() -> Iterator[Row]:
    """All rows that there are, in the order of the table."""
    secalloc, glibc, *others = find_peers()
    if isinstance(secalloc, Absent) or isinstance(glibc, Absent):
        raise OSError("neither secalloc nor libc can be measured here")
    yield from _c_rows(secalloc.peer, glibc)
    yield from _peer_rows(secalloc.peer, others)
    yield from _python_rows()
    yield from _python_peer_rows()
    yield from _array_rows()
    yield from _scope_rows()
    yield from _openssl_rows()
    yield from _wipe_rows()
    yield from _memory_rows()
    yield from _touch_rows()
