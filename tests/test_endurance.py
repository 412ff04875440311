"""What takes a program long: millions of operations and thousands of forks, and nothing that grows.

Each test has a process of its own, as its pages, mappings and descriptors are counted.
"""
import textwrap

import pytest
from support.children import succeed
from support.compiler import shared_library
from support.footprint import Footprint

MIB = 1 << 20
POLICIES = pytest.mark.parametrize("policy", ["isolate", "copy"])


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """support/endure.c, compiled."""
    return shared_library("endure", tmp_path_factory.mktemp("endure"))


# --- a million operations ---

FROM_C = """
import sys, secalloc
library, leak, hardening, retain, rounds = sys.argv[1:]
secalloc.configure(hardening=hardening, retain=retain)
from secalloc_ext.heapobject import DEFAULT
from support.endure import load
from support.footprint import growth
endure = load(library)
def work(i):
    assert endure(40_000, int(leak), i + 1) == 0
    if retain == "0":
        DEFAULT.trim()
print(*growth(work, DEFAULT, warm_up=5, rounds=int(rounds)))
"""

FROM_PYTHON = """
import random, sys
from secalloc import Heap, SecureBytes
from support import maps
from support.footprint import growth
from support.threads import in_threads
leak, rounds = map(int, sys.argv[1:])
kinds = [{"on_fork": p, "hardening": h, "backend": b} for p, h, b in (
    ("isolate", "fast", "secretmem"), ("copy", "full", "secretmem"), ("copy", "fast", "mlock"))]
heaps = [Heap("endurance", retain="1 MiB", **kind) for kind in kinds]
rng, leaked = random.Random(3), []

def operate(count):
    places = [None] * 200
    for i in range(count):
        at, heap = rng.randrange(200), heaps[i % 3]
        old = places[at]
        size = rng.randrange(300_000 if i % 997 == 0 else 20_000 if i % 31 == 0 else 300)
        if old is None or i % 3 == 0:
            places[at] = SecureBytes(size, heap=heap, guarded=i % 50 == 0)
        elif i % 3 == 1:
            places[at] = old[: size // 2]
        elif leak and i % leak == 2:
            leaked.append(old)
        else:
            with memoryview(old) as view:
                view[:1] = bytes(view[:1])
            old.wipe()
            places[at] = None

def work(i):
    operate(15_000)
    in_threads(2, lambda i: operate(2_500))
    heaps[i % 3].lock()
    heaps[i % 3].unlock()
    for heap in heaps:
        heap.trim()
    assert all(heap.is_valid() for heap in heaps)
    assert leak or all(heap.stats().live == 0 for heap in heaps)

print(*growth(work, *heaps, warm_up=5, rounds=rounds))
assert leak or maps.secret_mappings() == []
"""


def figures(told):
    return Footprint(*map(int, told.split()))


def grew(growth, slack):
    """Whether it took more than chance has it take; without `slack`, whether it did not go back to what it was."""
    return (growth.committed > slack or growth.mappings > slack >> 13 or growth.descriptors > 0
            or growth.space > MIB or growth.resident > slack + MIB)  # fmt: skip


@pytest.mark.parametrize("hardening", ["fast", "full"])
@pytest.mark.parametrize("retain", ["0", "2 MiB"])
def test_a_million_calls_from_c_and_nothing_grew(library, hardening, retain):
    growth = figures(succeed(FROM_C, library, 0, hardening, retain, 25))
    assert not grew(growth, 0 if retain == "0" else MIB), growth


@pytest.mark.parametrize("retain", ["0", "2 MiB"])
def test_a_leak_of_one_object_in_twenty_calls_would_be_seen(library, retain):
    growth = figures(succeed(FROM_C, library, 20, "fast", retain, 8))
    assert grew(growth, 0 if retain == "0" else MIB), growth


def test_hundreds_of_thousands_of_objects_of_python_in_three_heaps_and_nothing_grew():
    growth = figures(succeed(FROM_PYTHON, 0, 12))
    assert not grew(growth, 0), growth


def test_a_leak_of_one_object_of_python_in_sixty_would_be_seen():
    growth = figures(succeed(FROM_PYTHON, 60, 8))
    assert grew(growth, 0), growth


# --- nothing is left ---

NOTHING_LEFT = """
from secalloc import Heap, SecureBytes
from secalloc_ext.heapobject import DEFAULT
from support import capi, maps
from support.forking import forked
from support.threads import in_threads
SIZES = (0, 1, 100, 1_000, 16_000, 20_000, 200_000)
heaps = [DEFAULT, *(Heap("left", on_fork=policy, backend=backend, hardening=hardening)
                    for policy, backend, hardening in (("isolate", "secretmem", "full"), ("copy", "secretmem", "fast"),
                                                       ("copy", "mlock", "full")))]

def use(i=0):
    made = [SecureBytes(size, heap=heap, guarded=guarded) for size in SIZES for heap in heaps for guarded in (0, 1)]
    made += [SecureBytes(size, heap=heap) for size in SIZES[:5] for heap in heaps for _ in range(40)]
    for pointer in [capi.malloc(size) for size in SIZES * 3]:
        capi.free(pointer)
    return made

def end():
    for heap in heaps:
        heap.trim()
    assert [mapping for mapping in maps.mappings() if mapping.is_secret] == []
    assert all((heap.stats().live, heap.stats().committed, heap.stats().chunks) == (0, 0, 0) for heap in heaps)
    assert all(heap.is_valid() for heap in heaps)

end()
"""

WHAT_HAPPENED = {
    "threads came and went": """
        for _ in range(30):
            in_threads(8, use)
    """,
    "threads dropped what others had made": """
        made = [use() for _ in range(3)]
        in_threads(3, lambda i: made.pop())
    """,
    "threads still run": """
        import threading
        leave, used = threading.Event(), threading.Semaphore(0)
        def work():
            use()
            for heap in heaps:
                heap.trim()
            used.release()
            leave.wait()
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
            used.acquire()
        use()
        end()
        leave.set()
        for thread in threads:
            thread.join()
    """,
    "heaps were locked": """
        for _ in range(20):
            made = use()
            for heap in heaps:
                heap.lock()
            del made[::2]
            for heap in heaps:
                with heap.unlocked():
                    made.append(SecureBytes(50, heap=heap))
                heap.trim()
            del made
            for heap in heaps:
                heap.trim()
                heap.unlock()
    """,
    "a thread ended inside a lock's block": """
        made = use()
        for heap in heaps:
            heap.lock()
        in_threads(3, lambda i: [heap.unlocked().__enter__() for heap in heaps] + use())
        del made
        for heap in heaps:
            heap.unlock()
    """,
    "children had copies": """
        def child():
            global made
            del made[::3]
            more = use()
            del more
            made = []
            end()
        for _ in range(20):
            made = use()
            forked(child)
        made = []
    """,
    "guarded objects were closed": """
        made = [key for key in use() if key.guarded]
        for i, key in enumerate(made):
            (key.noaccess, key.readonly, key.readwrite)[i % 3]()
        for heap in heaps:
            heap.wipe()
        del made, key
    """,
}


@pytest.mark.parametrize("happened", WHAT_HAPPENED)
def test_trim_leaves_no_page_after(happened):
    succeed(NOTHING_LEFT + textwrap.dedent(WHAT_HAPPENED[happened]) + "\nend()\n")


# --- thousands of forks ---


@POLICIES
def test_three_thousand_forks_in_a_row_and_nothing_grew(policy):
    told = succeed(
        """
        import os, sys
        from secalloc import ForkedError, Heap, SecureBytes
        from support.footprint import growth
        heap = Heap("forked", on_fork=sys.argv[1])
        keys = [SecureBytes(b"secret" * size, heap=heap) for size in (1, 10, 100, 5_000)]
        def child():
            try:
                right = keys[0] == b"secret" and heap.on_fork == "copy"
            except ForkedError:
                right = heap.on_fork == "isolate"
            return 0 if right and SecureBytes(b"own", heap=heap) == b"own" else 1
        def work(i):
            for _ in range(300):
                pid = os.fork()
                if pid == 0:
                    os._exit(child())
                assert os.waitpid(pid, 0)[1] == 0
            assert keys[3] == b"secret" * 5_000
        print(*growth(work, heap, warm_up=1, rounds=10))
        """,
        policy, timeout=250,
    )  # fmt: skip
    assert not grew(figures(told), 0), figures(told)


@POLICIES
def test_a_line_of_twelve_generations(policy):
    """Each has objects of its own, and sees what its ancestors had, or nothing of it."""
    succeed(
        """
        import sys
        from secalloc import ForkedError, Heap, SecureBytes
        from support.forking import forked
        heap = Heap("line", on_fork=sys.argv[1], hardening="full")
        ancestors = []
        def look_at(key, i):
            try:
                assert key == bytes([i]) * 3_000 * i and heap.on_fork == "copy"
            except ForkedError:
                assert heap.on_fork == "isolate"
        def live(generation):
            for i in range(generation):
                look_at(ancestors[i], i)
            ancestors.append(SecureBytes(bytes([generation]) * 3_000 * generation, heap=heap))
            SecureBytes.random(500, heap=heap)
            if generation < 12:
                forked(lambda: live(generation + 1))
            assert ancestors[generation] == bytes([generation]) * 3_000 * generation
            assert heap.is_valid()
            assert heap.stats().live == (generation + 1 if heap.on_fork == "copy" else 1)
            if generation == 12:
                ancestors.clear()
                heap.trim()
                assert heap.stats().committed == 0
        live(0)
        assert len(ancestors) == 1
        """,
        policy,
    )
