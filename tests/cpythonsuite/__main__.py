"""CPython's own tests with the hooks of `scope` in place: `python tests/cpythonsuite [--whole | TEST...]`.

Runs each of them three times, each in a process of its own: as they are, with the hooks and no scope, and with the
process's threads in a scope from beginning to end. Prints what each came to, and exits with 0 if the same tests
failed.

The quick half is what has to do with memory; --whole is all that the scope is to hold up under. An interpreter
without its tests cannot run any: Debian has them in a package of their own.
"""
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

QUICK = ("test_bytes", "test_dict", "test_list", "test_set", "test_float", "test_json", "test_gc", "test_weakref",
         "test_generators", "test_coroutines")  # fmt: skip
WHOLE = (*QUICK, "test_threading", "test_unicode", "test_str", "test_re", "test_int", "test_long", "test_pickle",
         "test_asyncio", "test_io", "test_socket", "test_hashlib", "test_ssl", "test_subprocess",
         "test_fork1")  # fmt: skip
MODES = ("plain", "hooks", "scope")
TIMEOUT_SECONDS = 600  # of one file


def shipped(names: tuple[str, ...]) -> list[str]:
    """Those that this interpreter has."""
    return [name for name in names if find_spec(f"test.{name}") is not None]


def run(names: list[str], mode: str) -> tuple[str, set[str]]:
    """What it came to, in a line, and the names of the tests that failed: "test_x.Class.test" or a whole file."""
    counts: list[int] = []
    failed: set[str] = set()
    for name in names:  # one that does not end takes no other with it
        ran, failed_here = run_file(name, mode)
        counts += ran
        failed |= failed_here
    return f"{sum(counts)} tests in {len(names)} files, {len(failed)} failed", failed


def run_file(name: str, mode: str) -> tuple[list[int], set[str]]:
    """The counts of the suites in a file, or package, and what failed there."""
    starter = Path(__file__).with_name("starter.py")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+", errors="replace") as written:
        done = subprocess.Popen(
            [sys.executable, "-P", starter, mode, "-u", "none", "--timeout", str(TIMEOUT_SECONDS), "-v", name],
            cwd=folder, stdout=written, stderr=written, stdin=subprocess.DEVNULL, process_group=0,
            env=os.environ | {"TMPDIR": folder},
        )  # fmt: skip
        try:
            done.wait()
        finally:  # a test that did not end leaves children that may go on for ever
            with contextlib.suppress(ProcessLookupError):
                os.killpg(done.pid, signal.SIGKILL)
        written.seek(0)
        output = written.read()
    failed = set(re.findall(r"^(?:FAIL|ERROR): (.*)$", output, re.M))
    counts = [int(count) for count in re.findall(r"^Ran (\d+) tests? in", output, re.M)]
    if done.returncode not in (0, 2, 3, 4) or (not counts and " skipped" not in output):
        last = re.findall(r"^(test\w+) \(.*$", output, re.M)[-1:]
        failed.add(f"test.{name}: the run ended with {done.returncode}, last begun: {''.join(last)}")
    return counts, failed


def main(names: tuple[str, ...]) -> int:
    there = shipped(names)
    if not there:
        sys.exit(f"Python {sys.version.split()[0]} has not got its own tests")
    results = {}
    for mode in MODES:
        told, results[mode] = run(there, mode)
        print(f"Python {sys.version.split()[0]}, {mode}: {told}", flush=True)
    for name in sorted(results["plain"]):
        print("fails as it is:", name)
    different = {mode: again(results[mode] - results["plain"], mode) for mode in MODES[1:]}
    for mode, failed in different.items():
        for name in sorted(failed):
            print(f"fails with {mode} only:", name)
    return 1 if any(different.values()) else 0


def again(failed: set[str], mode: str) -> set[str]:
    """Those that fail a second time, in a run of their files alone: some of CPython's tests are about the clock."""
    files = sorted({file for name in failed for file in re.findall(r"\btest\.(test_\w+)", name)})
    return failed & run(files, mode)[1] if files else failed


if __name__ == "__main__":
    # A shell that runs this in the background has had it ignored, and then a test that waits for it never ends.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    given = tuple(sys.argv[1:])
    sys.exit(main(WHOLE if given == ("--whole",) else given or QUICK))
