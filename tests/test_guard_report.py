"""The guard report: what a fault hit is told, and then happens what would have happened without it."""
import signal

import pytest
from support.children import die, run, succeed

PRELUDE = """
import ctypes, faulthandler, os, resource, signal, sys
from secalloc import Heap, SecureBytes, enable_guard_report, wipe_on_signal
from support import maps
from support.capi import *
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
heap = Heap("tls")
def make(size, **options):
    key = SecureBytes(size, heap=heap, **options)
    globals()["kept"] = key
    return key, address_of(key)
"""
GUARDED = "key, p = make(32, guarded=True)"
LARGE = "key, p = make(100_000); page = maps.mapping_at(p)"
SMALL = "key, p = make(32); page = maps.mapping_at(p)"
BEHIND_THE_PAGE = "write(page.end, b'x')"
NOT_THE_LAST = """
while page.end - p < 2 * 48:
    key, p = make(32)
"""
FULL_SLAB = """
key, p = make(16_392); page = maps.mapping_at(p)
many = [make(16_392)[0] for _ in range(20)]
p = max(address_of(each) for each in many if page.start <= address_of(each) < page.end)
"""

# Each: what happens before and at the fault, and the report less its beginning.
FAULTS = {
    "a write behind a guarded object": (GUARDED, "write(p + 32, b'x')",
                                        'write 0 bytes behind a guarded object of 32 bytes in heap "tls": guard page'),
    "a read behind a guarded object": (GUARDED, "read(p + 39, 1)",
                                       'read 7 bytes behind a guarded object of 32 bytes in heap "tls": guard page'),
    "a read before a guarded object's page": (GUARDED, "read(p - 4_065, 1)", "read 4065 bytes before a guarded object "
                                              'of 32 bytes in heap "tls": guard page'),
    "a noaccess object": (GUARDED + "; key.noaccess()", "read(p + 1, 1)",
                          'read inside a guarded object of 32 bytes in heap "tls": noaccess'),
    "a readonly object": (GUARDED + "; key.readonly()", "write(p, b'x')",
                          'write inside a guarded object of 32 bytes in heap "tls": readonly'),
    "behind a large object": (LARGE, BEHIND_THE_PAGE,
                              'bytes behind a large object of 100000 bytes in heap "tls": guard page'),
    "before a large object": (LARGE, "write(page.start - 1, b'x')",
                              'bytes before a large object of 100000 bytes in heap "tls": guard page'),
    "a freed large object": ("p = malloc(100_000); free(p)", "read(p + 50, 1)",
                             'read inside a freed large object in heap "default": use after free'),
    "behind the last object of a slab": (FULL_SLAB, BEHIND_THE_PAGE,
                                         'bytes behind an object of 16392 bytes in heap "tls": guard page'),
    "behind a free slot": (SMALL + NOT_THE_LAST, BEHIND_THE_PAGE,
                           'behind a free slot of 48 bytes in heap "tls": guard page'),
    "before a slab": (SMALL, "write(page.start - 3, b'x')", "write 3 bytes before "),
    "a locked heap's small object": (SMALL + "; heap.lock()", "read(p, 1)",
                                     'read inside an object of 32 bytes in heap "tls": the heap is locked'),
    "a locked heap's guarded object": (GUARDED + "; heap.lock()", "read(p, 1)",
                                       'read inside a guarded object of 32 bytes in heap "tls": the heap is locked'),
    "nothing near": (SMALL, "read(p + (1 << 32), 1)", "read in secret address space where nothing is"),
    "where an object was": (SMALL + "; key.wipe(); heap.trim()", "read(p, 1)",
                            "read in secret address space where nothing is"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_before_the_process_dies_of_it(fault):
    setup, act, report = fault
    done = run(f"{PRELUDE}\n{setup}\nenable_guard_report()\nprint('ready', flush=True)\n{act}\n")
    assert (done.stdout, done.returncode) == ("ready\n", -signal.SIGSEGV), done.stderr
    assert done.stderr.startswith("secalloc: ")
    assert report in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_it_nothing_is_said():
    die(f"{PRELUDE}\n{GUARDED}\nprint('ready', flush=True)\nwrite(p + 32, b'x')\n", by=signal.SIGSEGV)


def test_a_fault_elsewhere_is_none_of_its_affair():
    die(f"{PRELUDE}\nenable_guard_report()\nprint('ready', flush=True)\nread(16, 1)\n", by=signal.SIGSEGV)


def test_a_fault_before_the_first_secret_is_none_either():
    die("""
        import ctypes
        from secalloc import enable_guard_report
        enable_guard_report()
        print("ready", flush=True)
        ctypes.string_at(16)
        """, by=signal.SIGSEGV)  # fmt: skip


@pytest.mark.parametrize("order", ["faulthandler.enable(); enable_guard_report()",
                                   "enable_guard_report(); faulthandler.enable()",
                                   "enable_guard_report(); enable_guard_report(); faulthandler.enable()"])
def test_faulthandler_speaks_as_well_whoever_came_first(order):
    done = run(f"{PRELUDE}\n{GUARDED}\n{order}\nwrite(p + 32, b'x')\n")
    assert done.returncode == -signal.SIGSEGV
    assert done.stderr.count("secalloc: write 0 bytes behind a guarded object of 32 bytes") == 1
    assert done.stderr.count("Fatal Python error: Segmentation fault") == 1


@pytest.mark.parametrize("order", ["wipe_on_signal(signal.SIGSEGV); enable_guard_report()",
                                   "enable_guard_report(); wipe_on_signal(signal.SIGSEGV)"])
def test_the_emergency_wipe_and_the_report_go_together(order):
    done = run(f"{PRELUDE}\n{GUARDED}\n{order}\nwrite(p + 32, b'x')\n")
    assert done.returncode == -signal.SIGSEGV
    assert done.stderr.count("secalloc: write 0 bytes behind") == 1


def test_a_fault_that_was_to_be_ignored_still_ends_the_process():
    """The kernel ignores no fault; a handler that returned to it would meet it for ever."""
    for first in ("enable_guard_report()", "wipe_on_signal(signal.SIGSEGV)"):
        done = run(f"{PRELUDE}\n{GUARDED}\nsignal.signal(signal.SIGSEGV, signal.SIG_IGN)\n{first}\nwrite(p + 32, b'x')")
        assert done.returncode == -signal.SIGSEGV


def test_a_signal_that_is_no_fault_is_not_reported():
    done = run(f"{PRELUDE}\n{GUARDED}\nenable_guard_report()\nos.kill(os.getpid(), signal.SIGSEGV)")
    assert (done.returncode, done.stderr) == (-signal.SIGSEGV, "")


def test_a_handler_of_the_program_that_comes_first_is_called():
    """Python's own runs when the interpreter comes round to it, so not at a real fault."""
    assert succeed(f"""{PRELUDE}
signal.signal(signal.SIGSEGV, lambda *_: print("called"))
enable_guard_report()
signal.raise_signal(signal.SIGSEGV)
""") == "called\n"


def test_what_a_child_inherited_is_named():
    done = run(f"""{PRELUDE}
{GUARDED}
enable_guard_report()
if os.fork() == 0:
    read(p, 1)
assert os.wait()[1] == signal.SIGSEGV
""")
    assert done.returncode == 0
    assert done.stderr == 'secalloc: read of what the parent process has in heap "tls": isolated by fork\n'


def test_it_speaks_of_sizes_and_names_and_never_of_bytes_or_addresses():
    done = run(f"""{PRELUDE}
heap = Heap("evil\\x1b[31m\\nname" + "x" * 100)
key = SecureBytes(b"correct horse", heap=heap, guarded=True)
p = address_of(key)
print(hex(p)[2:10], flush=True)
enable_guard_report()
write(p + 13, b'x')
""")
    assert done.returncode == -signal.SIGSEGV
    assert "13 bytes" in done.stderr
    assert "horse" not in done.stderr
    assert done.stdout.strip() not in done.stderr
    assert done.stderr.isascii()
    assert done.stderr.replace("\n", "").isprintable()
    assert done.stderr.count("\n") == 1
