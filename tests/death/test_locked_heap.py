"""Misuse of what is in a locked heap, whose pages are closed to all threads."""
import pytest
from support.children import succeed
from support.scenarios import (
    FAULT,
    FREED,
    INTERIOR,
    LATE_WRITE,
    OVERFLOW,
    PRELUDE,
    UNDERFLOW,
    Scenario,
    controls_end_no_process,
    each_of,
    for_both_sizes,
)

# What is freed by its address must not be dropped as well: `kept` holds an uncounted reference.
MADE = "h = Heap('h'); key = SecureBytes(b'x' * SIZE, heap=h); p = address_of(key); import gc; gc.collect(); "
KEPT = MADE + "ctypes.pythonapi.Py_IncRef(ctypes.py_object(key)); "
IN_BLOCK = "with h.unlocked(): assert read(p, 1) == b'x'"

SCENARIOS = [
    *for_both_sizes("a read", MADE + "h.lock()", "read(p, 1)", FAULT, IN_BLOCK),
    *for_both_sizes("a write", MADE + "h.lock()", "write(p, b'x')", FAULT, "with h.unlocked(): write(p, b'x')"),
    *for_both_sizes("a read behind a block", MADE + "h.lock()\n" + IN_BLOCK, "read(p, 1)", FAULT),
    *for_both_sizes("free twice", KEPT + "h.lock(); free(p)", "free(p)", FREED),
    *for_both_sizes("a drop of what was freed", KEPT + "h.lock(); free(p)",
                    "ctypes.pythonapi.Py_DecRef(ctypes.py_object(key)); del key", FREED),
    *for_both_sizes("usable_size of a freed object", KEPT + "h.lock(); free(p)", "usable_size(p)", FREED),
    *for_both_sizes("free of an interior pointer", MADE + "h.lock()", "free(p + 16)", INTERIOR),
    *for_both_sizes("free of an unaligned pointer", MADE + "h.lock()", "free(p + 1)", INTERIOR),
    *for_both_sizes("an overflow in a block, seen by the drop behind it", MADE + "h.lock()",
                    "with h.unlocked(): write(p + SIZE, b'x')\ndel key", OVERFLOW, "del key"),
    *for_both_sizes("an overflow before the lock, seen by the drop behind it", MADE,
                    "write(p + SIZE, b'x'); h.lock(); del key", OVERFLOW, "h.lock(); del key"),
    Scenario("an overflow before the lock, seen by usable_size", MADE.replace("SIZE", "32"),
             "write(p + 32, b'x'); h.lock(); usable_size(p)", OVERFLOW, "h.lock(); assert usable_size(p) == 32"),
    Scenario("an underflow of a guarded object, seen by the drop",
             MADE.replace("SIZE", "32").replace("heap=h", "heap=h, guarded=True"), "spoil(p - 1); h.lock(); del key",
             UNDERFLOW, "h.lock(); del key"),
    Scenario("a read of a guarded object", MADE.replace("SIZE", "32").replace("heap=h", "heap=h, guarded=True")
             + "h.lock()", "read(p, 1)", FAULT, IN_BLOCK),
    Scenario("a byte written after free, seen when the heap is open again",
             "h = Heap('h'); keys = [SecureBytes(32, heap=h) for _ in range(2_000)]; p = address_of(keys[1_000]); "
             "import gc; gc.collect(); keys.clear()",
             "write(p, b'x'); h.lock(); h.unlock(); [SecureBytes(32, heap=h) for _ in range(2_000)]; "
             "keys = [SecureBytes(32, heap=h) for _ in range(20_000)]", LATE_WRITE,
             "h.lock(); h.unlock(); keys = [SecureBytes(32, heap=h) for _ in range(20_000)]"),
    Scenario("a large object read that was dropped under the lock", MADE.replace("SIZE", "100_000")
             + "h.lock(); del key", "read(p, 1)", FAULT),
]  # fmt: skip


@each_of(SCENARIOS)
def test_it_ends_the_process(scenario):
    scenario.ends()


def test_correct_use_ends_no_process():
    controls_end_no_process(SCENARIOS)


@pytest.mark.parametrize("size", [0, 32, 100_000])
def test_c_gets_null_from_a_locked_default_heap(size):
    """No misuse, as C cannot ask: NULL and ENOMEM, and realloc leaves the object as it was."""
    succeed(f"""{PRELUDE}
import errno
p = malloc({size}); write(p, b"x" * {size})
heap.lock()
assert errno_of(malloc, {size}) == errno_of(realloc, p, 200_000) == errno_of(guarded_alloc, {size}) == errno.ENOMEM
heap.unlock()
assert read(p, {size}) == b"x" * {size}
free(p)
""")
