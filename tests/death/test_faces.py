"""Misuse from C of what Python holds: a SecureBytes, or the data of an array, is an object like any other."""
from support.scenarios import (
    FAULT,
    FREED,
    LATE_WRITE,
    OVERFLOW,
    Scenario,
    controls_end_no_process,
    each_of,
    for_both_sizes,
)

# address_of leaves a view behind until the next collection.
KEY = "key = SecureBytes(SIZE); p = address_of(key); import gc; gc.collect()"
ARRAY = "import secalloc.numpy as snp; a = snp.zeros(SIZE, dtype='u1'); p = a.ctypes.data"
FORGET = "ctypes.pythonapi.Py_IncRef(ctypes.py_object({})); "  # never dropped, so not freed again

SCENARIOS = [
    *for_both_sizes("overflow of a SecureBytes, seen by its drop", KEY, "write(p + SIZE, b'x'); del key", OVERFLOW,
                    "write(p, b'x' * SIZE); del key"),
    *for_both_sizes("overflow of a SecureBytes, seen by wipe", KEY, "write(p + SIZE, b'x'); key.wipe()", OVERFLOW,
                    "key.wipe()"),
    *for_both_sizes("overflow of a SecureBytes, seen by its last view's release", KEY + "; view = memoryview(key)",
                    "write(p + SIZE, b'x'); key.wipe(); view.release()", OVERFLOW, "key.wipe(); view.release()"),
    *for_both_sizes("overflow of a SecureBytes, seen when the interpreter ends", KEY, "write(p + SIZE, b'x')",
                    OVERFLOW),
    *for_both_sizes("overflow of a SecureBytes in a heap of its own",
                    KEY.replace("SecureBytes(SIZE)", "SecureBytes(SIZE, heap=Heap('own'))"),
                    "write(p + SIZE, b'x'); del key", OVERFLOW, "del key"),
    *for_both_sizes("drop of a SecureBytes that C has freed", KEY + "; free(p)", "del key", FREED,
                    FORGET.format("key")),
    *for_both_sizes("free of a SecureBytes that was wiped", KEY + "; key.wipe()", "free(p)", FREED),
    Scenario("write to a SecureBytes that was wiped",
             "keys = [SecureBytes(32) for _ in range(2_000)]; p = address_of(keys[1_000]); import gc; gc.collect(); "
             "[key.wipe() for key in keys]",
             "write(p, b'x'); again = [SecureBytes(32) for _ in range(20_000)]", LATE_WRITE,
             "again = [SecureBytes(32) for _ in range(20_000)]"),
    Scenario("read of a large SecureBytes that was wiped", KEY.replace("SIZE", "100_000") + "; key.wipe()",
             "read(p, 1)", FAULT),
    *for_both_sizes("overflow of an array, seen by its drop", ARRAY, "write(p + SIZE, b'x'); del a", OVERFLOW,
                    "write(p, b'x' * SIZE); del a"),
    *for_both_sizes("overflow of an array, seen by its last view's drop", ARRAY + "; b = a[1:]",
                    "write(p + SIZE, b'x'); del a, b", OVERFLOW, "del a, b"),
    *for_both_sizes("overflow of an array, seen by resize", ARRAY,
                    "write(p + SIZE, b'x'); a.resize(7 * SIZE, refcheck=False)", OVERFLOW,
                    "a.resize(7 * SIZE, refcheck=False)"),
    *for_both_sizes("drop of an array whose data C has freed", ARRAY + "; free(p)", "del a", FREED,
                    FORGET.format("a")),
    Scenario("read of a large array that was dropped, when its pages went back",
             ARRAY.replace("SIZE", "100_000") + "; del a; heap.trim()", "read(p, 1)", FAULT),
]  # fmt: skip


@each_of(SCENARIOS)
def test_it_ends_the_process(scenario):
    scenario.ends()


def test_correct_use_ends_no_process():
    controls_end_no_process(SCENARIOS)
