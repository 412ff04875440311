"""Python programs in processes of their own, for what must not happen in the test's."""
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
SECONDS_MAX = 50  # a hang is a failure; no test waits for it on purpose


def run(code, *arguments, environment=None, timeout=SECONDS_MAX, **options):
    """Run a program to its end; it can import `support`, and gets secalloc from where it is installed."""
    variables = os.environ | {"PYTHONPATH": str(TESTS), "PYTHONFAULTHANDLER": "", "PYTHONMALLOC": ""}
    return subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code), *map(str, arguments)],
        env=variables | (environment or {}), cwd="/", capture_output=True, text=True, timeout=timeout, **options,
    )  # fmt: skip


def succeed(code, *arguments, **options):
    """Run a program that must end by itself, silent on standard error; answers what it printed."""
    done = run(code, *arguments, **options)
    assert done.returncode == 0, f"ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.stderr == ""
    return done.stdout


def die(code, *, by, phrase="", **options):
    """Run a program that prints "ready" and then dies by the signal `by`, with exactly `phrase` on standard error."""
    done = run(code, **options)
    assert done.stdout == "ready\n", f"did not get ready\n{done.stdout}\n{done.stderr}"
    assert done.returncode == -by, f"ended with {done.returncode}, not {signal.Signals(by).name}\n{done.stderr}"
    assert done.stderr == phrase
