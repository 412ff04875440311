"""Every system call of the core fails, at every occurrence in every operation: nothing is lost, and the error is right.

`support/faults.c` makes the calls fail, `support/operations.py` says what is done, and `support/injection.py` does it
again and again, and looks whether anything is left behind. Here stands what shall come of it.
"""
import errno
import json
import re
import signal
from functools import cache

import pytest
from support.children import succeed
from support.compiler import shared_library
from support.operations import EVERY

# Operations in which the mlock backend does something else than secretmem; all others are done with secretmem alone.
WITH_MLOCK = {
    "first_object", "small_objects_until_their_heap_grows", "a_large_object", "a_guarded_object", "growth_by_realloc",
    "a_block_in_a_locked_heap", "a_free_of_a_large_object_that_is_not_kept", "a_fork_that_isolates",
    "a_fork_that_copies", "revealed_bytes", "a_fork_that_isolates_what_is_revealed",
    "a_fork_that_copies_what_is_revealed",
}  # fmt: skip
CASES_MIN = 2_000

# What a call's failure is to the user, where no line of SPECIAL says otherwise.
MEMLOCK = r"MemlockLimitError: no secret memory.*: RLIMIT_MEMLOCK is reached"
MAP_COUNT = r"AllocationError: no secret memory.*: the process can have no more mappings: raise vm\.max_map_count"
MEMORY = r"AllocationError: no secret memory.*: no ordinary memory is left"
RANDOM = r"AllocationError: no secret memory.*: getrandom\(2\) is refused"
FILES = r"AllocationError: no secret memory.*: no file descriptor is left"
OTHER = r"AllocationError: no secret memory.*: the kernel refused"
PROTECTION = r"AllocationError: the protection cannot be changed: vm\.max_map_count or RLIMIT_DATA"
ERRORS = {
    ("memfd_secret", errno.ENOSYS): r"SecretMemoryUnavailable: \[Errno 38\] this kernel gives no secret memory",
    ("memfd_secret", errno.EPERM): r"SecretMemoryUnavailable: \[Errno 1\] memfd_secret\(2\) is forbidden here",
    ("memfd_secret", errno.EINVAL): r"SecretMemoryUnavailable: \[Errno 22\] .* does not know the flags 0x0",
    ("memfd_secret", errno.EMFILE): FILES,
    ("memfd_secret", errno.ENFILE): FILES,
    ("memfd_secret", errno.ENOMEM): OTHER,
    ("ftruncate", errno.EFBIG): r"AllocationError: no secret memory.*: raise RLIMIT_FSIZE",
    ("ftruncate", errno.EINVAL): OTHER,
    ("mmap reserve", errno.ENOMEM): r"AllocationError: no secret memory.*: the address space is used up",
    ("mmap reserve", errno.EAGAIN): r"AllocationError: no secret memory.*: the address space is used up",
    ("mmap piece", errno.EAGAIN): MEMLOCK,
    ("mmap piece", errno.ENOMEM): MAP_COUNT,
    ("mmap piece", errno.EPERM): OTHER,
    ("mremap", errno.EAGAIN): MEMLOCK,
    ("mremap", errno.ENOMEM): MAP_COUNT,
    ("mlock", errno.EAGAIN): MEMLOCK,
    ("mlock", errno.ENOMEM): MEMLOCK,
    ("mlock", errno.EPERM): MEMLOCK,
    ("madvise", errno.ENOMEM): OTHER,
    ("madvise", errno.EINVAL): OTHER,
    ("mprotect open", errno.ENOMEM): f"{MEMORY}|{MAP_COUNT}",  # records, pieces
    ("mprotect shut", errno.ENOMEM): MAP_COUNT,
    ("pkey_mprotect open", errno.ENOMEM): MAP_COUNT,
    ("pkey_mprotect shut", errno.ENOMEM): MAP_COUNT,
    ("calloc", errno.ENOMEM): MEMORY,
    ("pthread_key_create", errno.EAGAIN): MEMORY,
    ("pthread_key_create", errno.ENOMEM): MEMORY,
    ("pthread_setspecific", errno.ENOMEM): MEMORY,
    ("getrandom", errno.ENOSYS): RANDOM,
    ("getrandom", errno.EPERM): RANDOM,
    ("sysconf", errno.EINVAL): r"SecretMemoryUnavailable: \[Errno 22\] secalloc needs pages of 4096 bytes",
    ("sigaction", errno.EINVAL): r"OSError: \[Errno 22\] signal 1[02] cannot be caught",
    ("atexit", errno.ENOMEM): r"MemoryError: ",
    ("read", errno.EIO): r"OSError: \[Errno 5\] ",
    ("read", errno.EBADF): r"OSError: \[Errno 9\] ",
}
SPECIAL = {
    ("a_heap_of_whichever_backend_there_is", "memfd_secret"):
        f"SecretMemoryWarning: secrets are held in locked|{FILES}|{OTHER}",
    ("random_bytes", "getrandom"): r"OSError: \[Errno 38\] |PermissionError: \[Errno 1\] ",
    ("an_array", "calloc"): f"{MEMORY}|MemoryError: $",
    ("a_large_object_in_place_of_others", "mmap release"): r"HeapLimitError: .* limit is 400000 bytes",
    ("protection_of_a_guarded_object", "mprotect open"): PROTECTION,
    ("protection_of_a_guarded_object", "mprotect shut"): PROTECTION,
    ("a_block_that_opens_a_guarded_object", "mprotect open"): PROTECTION,
    ("a_block_that_opens_a_guarded_object", "mprotect shut"): PROTECTION,
}
FROM_C = {"first_object_from_c", "an_aligned_object", "growth_by_realloc"}

# What may fail for ever, and the operation succeeds all the same. A release comes later; without the advice a dump is
# longer; a child gets no copies.
UNKNOWN = "how_the_kernel_counts"           # then as most do
DISPENSABLE = {
    "close": set(EVERY),
    **{call: {UNKNOWN} for call in ("memfd_secret", "ftruncate", "mmap reserve", "read", "open")},
    "getrlimit": set(EVERY),
    "pkey_alloc": set(EVERY),
    "mmap release": {"a_trim", "a_free_of_a_large_object_that_is_not_kept", "the_end_of_a_heap",
                     "a_trim_of_pages_for_revealed_bytes", "an_end_of_revealed_bytes_that_are_not_kept",
                     "a_large_object_in_place_of_others"},  # once enough of them are released
    "madvise": {"a_trim", "a_free_of_a_large_object_that_is_not_kept", "the_end_of_a_heap",
                "an_end_of_revealed_bytes_that_are_not_kept"},
    # Unmapped instead, as it cannot be opened to be wiped.
    "pkey_mprotect open": {"a_block_in_a_locked_heap_by_key", "a_free_in_a_locked_heap_by_key"},
    "mprotect open": {"a_free_of_a_closed_object", "a_block_in_a_locked_heap", "the_end_of_a_heap",
                      "a_large_object_on_used_pages",             # other pages do as well
                      "small_objects_until_their_heap_grows"},    # so does a gap that needs no more records
}

# Where going on would leave a secret open, or closed to its owner: the only ends of a process.
CHANGE, CLOSE, MOVE = "protection cannot be changed", "inherited pages cannot be closed", "copied pages cannot be moved"
DEATHS = {
    (UNKNOWN, "munmap"): "pages cannot be released",  # which no limit makes fail
    # Pages that are closed and cannot be opened, of what is to be wiped now:
    ("the_wipe_of_a_heap", "mprotect open"): CHANGE,
    ("a_free_in_a_locked_heap", "mprotect open"): CHANGE,
    # Pages that are open and cannot be closed again. No limit of the system's makes that fail.
    ("the_wipe_of_a_heap", "mprotect shut"): CHANGE,
    ("a_free_in_a_locked_heap", "mprotect shut"): CHANGE,
    ("a_free_of_a_large_object", "mprotect shut"): CHANGE,
    ("a_free_of_a_large_object_that_is_not_kept", "mprotect shut"): CHANGE,
    ("a_free_of_a_closed_object", "mprotect shut"): CHANGE,
    ("a_guarded_object", "mprotect shut"): CHANGE,
    ("revealed_text", "mprotect shut"): CHANGE,
    ("a_block_in_a_locked_heap", "mprotect shut"): CHANGE,
    ("the_unlocking_of_a_heap", "mprotect shut"): CHANGE,
    ("the_end_of_a_heap", "mprotect shut"): CHANGE,
    ("a_free_in_a_locked_heap_by_key", "pkey_set"): CHANGE,
    ("a_free_in_a_locked_heap_by_key", "pkey_mprotect shut"): CHANGE,
    ("a_block_in_a_locked_heap_by_key", "pkey_set"): CHANGE,
    ("a_block_in_a_locked_heap_by_key", "pkey_mprotect shut"): CHANGE,
    ("the_lock_of_a_heap_by_key", "pkey_mprotect open"): CHANGE,  # for ever: nor can the first be opened again
    ("the_unlocking_of_a_heap_by_key", "pkey_mprotect open"): CHANGE,
    # In a forked child, and copies for it:
    ("a_fork_that_isolates", "mmap release"): CLOSE,
    ("a_fork_that_isolates", "getrandom"): "no random bytes",
    ("a_fork_that_isolates", "mprotect shut"): CHANGE,
    ("a_fork_that_copies", "mmap release"): CLOSE,
    ("a_fork_that_copies", "getrandom"): "no random bytes",
    ("a_fork_that_copies", "mprotect open"): CHANGE,
    ("a_fork_that_copies", "mprotect shut"): CHANGE,
    ("a_fork_that_copies", "mremap"): MOVE,
    ("a_fork_that_copies", "madvise"): MOVE,
    ("a_fork_that_copies", "mlock"): MOVE,
    ("a_fork_that_copies", "munmap"): "pages cannot be released",
    ("a_fork_that_isolates_what_is_revealed", "mmap release"): CLOSE,
    ("a_fork_that_isolates_what_is_revealed", "getrandom"): "no random bytes",
    ("a_fork_that_copies_what_is_revealed", "mmap release"): CLOSE,
    ("a_fork_that_copies_what_is_revealed", "getrandom"): "no random bytes",
    ("a_fork_that_copies_what_is_revealed", "mprotect open"): CHANGE,
    ("a_fork_that_copies_what_is_revealed", "mprotect shut"): CHANGE,
    ("a_fork_that_copies_what_is_revealed", "mremap"): MOVE,
    ("a_fork_that_copies_what_is_revealed", "madvise"): MOVE,
    ("a_fork_that_copies_what_is_revealed", "mlock"): MOVE,
    ("a_fork_that_copies_what_is_revealed", "munmap"): "pages cannot be released",
}
RUNS = [(name, "secretmem") for name in EVERY] + [(name, "mlock") for name in EVERY if name in WITH_MLOCK]


@pytest.fixture(scope="module")
def inject(tmp_path_factory):
    """All cases of an operation, done once; the dry run is the first."""
    library = shared_library("faults", tmp_path_factory.mktemp("faults"))

    @cache
    def cases(name, backend, code="from support import injection; injection.main(*__import__('sys').argv[1:])"):
        environment = {"LD_PRELOAD": str(library), "SECALLOC_BACKEND": backend, "PYTHONWARNINGS": "error",
                       "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip
        return [json.loads(line) for line in succeed(code, name, environment=environment).splitlines()]

    return cases


def died(case):
    return case["status"] == -signal.SIGABRT or case["error"] == f"ChildDied: {-signal.SIGABRT}"


def expected_error(name, call, code):
    if name in FROM_C:
        return r".*\[Errno 11\] NULL" if ERRORS[call, code] == MEMLOCK else r".*\[Errno 12\] NULL"
    return SPECIAL.get((name, call)) or ERRORS[call, code]


def fault_in(name, case):
    """What is wrong with what became of one case; None if nothing."""
    call = case["call"]
    if case["broken"] or case["space"]:
        return case["broken"] or "address space is left reserved"
    if died(case):
        return None if case["said"] == f"secalloc: {DEATHS.get((name, call))}\n" else "died"
    if case["status"] != 0 or case["said"]:
        return "ended wrong"
    if case["error"]:
        right = re.match(expected_error(name, call, case["code"]), case["error"])
        return None if right else "not the expected error"
    if case["for_ever"] and "fork" not in name and name not in DISPENSABLE.get(call, ()):
        return "no error"
    return None


@pytest.mark.parametrize(("name", "backend"), RUNS)
def test_a_call_that_fails(name, backend, inject):
    dry, *cases = inject(name, backend)
    assert (dry["broken"], dry["error"], dry["status"], dry["said"]) == ("", "", 0, "")
    wrong = [(fault, case) for case in cases if case["injected"] and (fault := fault_in(name, case))]
    assert wrong == []


@pytest.mark.parametrize("backend", ["secretmem", "mlock"])
@pytest.mark.parametrize("name", [name for name in EVERY if "fork" in name])
def test_a_fork_that_lacks_something_gives_the_child_less_and_never_the_parent_s_pages(name, backend, inject):
    dry, *cases = inject(name, backend)
    asked = "copied" if "copies" in name else "isolated"
    assert dry["remark"] == asked
    remarks = {case["remark"].split(",")[0] for case in cases if not died(case)}
    assert remarks == {asked, "isolated"}
    assert any(case["remark"].endswith("no memory") for case in cases)


def test_the_table_of_deaths_is_exact(inject):
    seen = {(name, case["call"]) for name, backend in RUNS for case in inject(name, backend)[1:] if died(case)}
    assert seen == set(DEATHS)


def test_all_calls_are_made_to_fail_in_some_operation(inject, record_testsuite_property):
    cases = [case for run in RUNS for case in inject(*run)[1:] if case["injected"]]
    calls = inject("", "secretmem", "import json; from support import faults; print(json.dumps(faults.CALLS))")[0]
    assert {case["call"] for case in cases} == set(calls)
    assert len(cases) >= CASES_MIN
    for what, count in (("cases", len(cases)), ("calls that failed", sum(case["injected"] for case in cases))):
        record_testsuite_property(f"fault injection: {what}", count)
        print(f"{count} {what}")


def test_pages_that_cannot_be_taken_away_are_taken_away_before_their_addresses_are_used_again(inject):
    """As when the piece before took the process beyond vm.max_map_count: no mmap(2) goes on then, not even over it."""
    inject(
        "", "secretmem",
        """
        import errno
        from secalloc import AllocationError, Heap, SecureBytes
        from support import capi, faults, maps
        heap = Heap("littered", gap_frames=0)
        for call in ("madvise", "mmap release"):
            faults.arm(call, 1, errno.ENOMEM, faults.FOREVER)
        try:
            SecureBytes(100_000, heap=heap)
        except AllocationError:
            assert [each.end - each.start for each in maps.secret_mappings()] == [102_400]
            assert heap.stats().committed == 0
        faults.disarm()
        key = SecureBytes(50_000, heap=heap)
        [found] = maps.secret_mappings()
        assert found.end - found.start == heap.stats().committed == 53_248
        assert found.start <= capi.address_of(key) < found.end
        assert maps.mapping_at(found.end).is_closed
        """,
    )  # fmt: skip


def test_failing_again_and_again_uses_nothing_up(inject):
    """Records are never given back."""
    inject(
        "", "secretmem",
        """
        import errno
        from secalloc import AllocationError, SecureBytes
        from support import faults
        faults.arm("getrandom", 3, errno.EPERM, faults.FOREVER)
        for _ in range(300):
            try:
                SecureBytes(1)
            except AllocationError:
                pass
        assert faults.injected() == 300
        assert faults.count("mprotect open") <= 1, faults.counts()
        faults.disarm()
        assert SecureBytes(b"works") == b"works"
        """,
    )  # fmt: skip


# --- controls ---


def test_only_secalloc_s_own_calls_fail(inject):
    inject(
        "", "secretmem",
        """
        import mmap, os, resource
        from support import faults
        for call in faults.CALLS:
            faults.arm(call, 1, 1, faults.FOREVER)
        mmap.mmap(-1, 4096).close()
        os.close(os.dup(1))
        os.getrandom(5), os.sysconf("SC_PAGESIZE"), resource.getrlimit(resource.RLIMIT_AS), bytes(1 << 20)
        assert faults.counts() == {} and faults.injected() == 0
        from secalloc import SecureBytes
        try:
            SecureBytes(1)
        except Exception:
            print(faults.injected())
        """,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("act", "found"),
    [
        ("os.dup(1)", "left behind"),
        ("kept.append(SecureBytes(5, heap=heap))", "left behind"),
        ("first.clear()", "failed again"),
        ("lost.append(SecureBytes(5, heap=Heap('lost')))", "bytes are locked"),
        ("faults.disarm(); os.kill(os.getpid(), 11)", -signal.SIGSEGV),
    ],
)
def test_what_a_failure_breaks_is_seen(act, found, inject):
    dry, *cases = inject(
        "broken", "secretmem",
        f"""
        import os
        from secalloc import Heap, SecureBytes
        from support import faults, injection, operations

        @operations.operation
        def broken(ground):
            heap, kept, lost, first = ground.heap(), [], [], [1]

            def act():
                try:
                    first[0]
                    return SecureBytes(100_000, heap=heap)
                except Exception:
                    faults.disarm()
                    {act}
                    raise

            return act

        injection.main("broken")
        """,
    )  # fmt: skip
    assert dry["broken"] == ""
    assert any(found in (case["broken"], case["status"]) or str(found) in case["broken"] for case in cases)
