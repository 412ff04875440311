"""Each occurrence of each call that an operation makes fails, once and for ever, each case in a process of its own.

Run as a program with faults.c preloaded: `main` prints the cases as lines of JSON. A case's process is forked from one
in which secalloc has done nothing yet.
"""
import gc
import json
import os
import resource
import signal
import sys
import tempfile
from errno import EAGAIN, EBADF, EFBIG, EINTR, EINVAL, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, ENOSYS, EPERM
from importlib import import_module

from secalloc import Heap, configure
from secalloc_ext.heapobject import DEFAULT, counts_touches
from support import capi, faults, hostile, maps, operations

SHORT = 0
# What each call can really answer; a seccomp profile can make any of them EPERM.
CODES = {
    "mmap reserve": [ENOMEM, EAGAIN],
    "mmap piece": [EAGAIN, ENOMEM, EPERM],
    "mmap release": [ENOMEM],
    "munmap": [ENOMEM],
    "mremap": [ENOMEM, EAGAIN],
    "mprotect open": [ENOMEM],
    "mprotect shut": [ENOMEM],
    "pkey_alloc": [ENOSPC, ENOSYS],
    "pkey_mprotect open": [ENOMEM],
    "pkey_mprotect shut": [ENOMEM],
    "pkey_set": [EINVAL],
    "madvise": [ENOMEM, EINVAL],
    "mlock": [ENOMEM, EAGAIN, EPERM],
    "memfd_secret": [ENOSYS, EPERM, EINVAL, EMFILE, ENFILE, ENOMEM],
    "ftruncate": [EFBIG, EINVAL],
    "close": [EINTR, EIO],
    "getrandom": [ENOSYS, EPERM, EINTR, SHORT],
    "getrlimit": [EPERM],
    "sysconf": [EINVAL],
    "calloc": [ENOMEM],
    "pthread_key_create": [EAGAIN, ENOMEM],
    "pthread_setspecific": [ENOMEM],
    "sigaction": [EINVAL],
    "atexit": [ENOMEM],
    "read": [EIO, EBADF, EINTR, SHORT],
}
PASSING = {EINTR, SHORT}  # it does not go on for ever
PASSING_TIMES = 3
HANG_SECONDS = 20
SLACK_BYTES = 4 << 20     # by which Python's own memory may differ from case to case


class Ground:
    """Where one operation works, and what must hold there."""

    def __init__(self):
        self.heaps = []
        self.is_fresh = False     # nothing of secalloc has started
        self.remark = ""
        self._kept = []
        self._pointers = []
        self._endings = []

    def heap(self, gap_frames=0, **options):
        """Without gaps: else it is chance whether the next chunk needs more records, which are ordinary memory. And
        without a thread that makes calls when it pleases."""
        heap = Heap("ground", gap_frames=gap_frames, prefault=False, **options)
        self.heaps.append(heap)
        return heap

    def keep(self, thing):
        self._kept.append(thing)
        return thing

    def keep_pointer(self, pointer):
        self._pointers.append(pointer)

    def at_end(self, call):
        self._endings.append(call)

    def stats(self):
        return [heap.stats() for heap in ([] if self.is_fresh else [DEFAULT, *self.heaps])]

    def state(self):
        """What a failed operation leaves as it was."""
        return maps.descriptors(), sum(stats.live for stats in self.stats())

    def check(self):
        """What is locked is what the heaps say that they have, and they are whole."""
        if not self.is_fresh:
            self.heap()  # whoever makes a heap gives back what closed ones could not
        with open("/proc/self/status") as status:
            locked = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmLck:"))
        committed = sum(stats.committed for stats in self.stats())
        assert locked == committed, f"{locked} bytes are locked, {committed} committed"
        assert all(heap.is_valid() for heap in self.heaps), "a heap is not valid"

    def clear(self):
        """Let go of everything: then nothing is left."""
        for call in self._endings:
            call()
        self._kept.clear()
        for pointer in self._pointers:
            capi.free(pointer)
        gc.collect()
        self.is_fresh = False
        for heap in [DEFAULT, *self.heaps]:
            heap.trim()
        assert [(stats.live, stats.committed) for stats in self.stats() if stats.live or stats.committed] == []
        self.check()


def attempt(act):
    """What the act answers, and what it raised, as text."""
    try:
        return act(), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def run_case(prepare, fault):
    """In a process of its own: prepare, do it with a fault, look around, do it again, let all go."""
    faults.disarm()  # a process before this one may have died of its fault
    if not prepare.__name__.endswith("_by_key"):
        hostile.use_up_protection_keys()
    ground = Ground()
    act = prepare(ground)
    before = ground.state()
    made_before = faults.injected()
    faults.disarm()
    if fault:
        faults.arm(*fault)
    result, error = attempt(act)
    case = {"counts": faults.counts(), "injected": faults.injected() - made_before, "error": error,
            "remark": ground.remark}  # fmt: skip
    faults.disarm()
    gc.collect()
    if error:
        after = ground.state()
        assert after == before, f"left behind: {before} became {after}"
        ground.check()
        result, again = attempt(act)
        assert not again, f"failed again: {again}"
    if not ground.is_fresh:
        ground.check()
    del result, act
    ground.clear()
    case["space"] = maps.address_space()
    return case


def run_forked(prepare, fault):
    """The case's report, with how its process ended and what it said."""
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            os.dup2(said.fileno(), 2)
            os.close(reader)
            signal.alarm(HANG_SECONDS)
            try:
                report = run_case(prepare, fault)
            except BaseException as error:
                report = {"broken": f"{type(error).__name__}: {error} in line {error.__traceback__.tb_lineno}"}
            os.write(writer, json.dumps(report).encode())
            os._exit(0)
        os.close(writer)
        with open(reader, "rb") as file:
            report = json.loads(file.read() or b"{}")
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said.seek(0)
        return {"counts": {}, "injected": 1, "error": "", "remark": "", "broken": "", "space": 0, "status": status,
                "said": said.read().decode()} | report  # fmt: skip


def plans(counts):
    """Every fault to try: call, first occurrence, errno, last occurrence."""
    for call, made in counts.items():
        for first in range(1, made + 1):
            for code in CODES[call]:
                yield call, first, code, first
                yield call, first, code, first + PASSING_TIMES - 1 if code in PASSING else faults.FOREVER


def main(name):
    """Print the dry run of an operation, then every case."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    configure(prefault=False, gap_frames=0)  # the default heap, too, as Ground.heap
    gc.collect()
    gc.freeze()  # so that collecting is fast in the cases' processes
    prepare = operations.EVERY[name]
    if hasattr(prepare, "needs"):
        import_module(prepare.needs)  # once, not in every case
    if prepare is not operations.how_the_kernel_counts:
        counts_touches()
    dry = run_forked(prepare, None)
    print(json.dumps(dry))
    for fault in plans(dry["counts"]):
        case = run_forked(prepare, fault)
        case["space"] = max(case["space"] - dry["space"] - SLACK_BYTES, 0)
        print(json.dumps(case | {"call": fault[0], "first": fault[1], "code": fault[2],
                                 "for_ever": fault[3] == faults.FOREVER}))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
