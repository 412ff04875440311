"""One target in a process of its own, seen from outside: what it did, and what it died of.

A fuzzing process ends by itself with a report; what ends it before that is a finding, with the input that is in its
journal: a signal, among them the SIGALRM of an example that took too long, or any other exit.
"""
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from fuzz.engine import Finding, as_text
from fuzz.journal import Journal
from fuzz.mutation import smaller

HERE = Path(__file__).parent
TRIES = 40  # to make smaller an input that ends the process; each is a process
TRYING_SECONDS = 30
DEATHS_MAX = 3  # of one target in one run
TOLD_MAX = 4_000  # characters of what a process left on standard error


class Setting(NamedTuple):
    """`until`: a moment of the monotonic clock, which all processes share; `each`: seconds that an example may take."""

    name: str
    until: float
    examples: int
    seed: int
    each: float
    grow: bool = False


class Outcome(NamedTuple):
    examples: int = 0
    valid: int = 0
    behaviours: int = 0
    findings: tuple = ()

    def and_then(self, other):
        return Outcome(self.examples + other.examples, self.valid + other.valid,
                       max(self.behaviours, other.behaviours), self.findings + other.findings)  # fmt: skip


def start(folder, *arguments):
    """Run `python tests/fuzz` in another way to its end; answers its status and what it left on standard error."""
    options = {"cwd": folder, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    command = [sys.executable, "-P", "-X", "faulthandler", str(HERE), *map(str, arguments)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", **options)
    return done.returncode, done.stderr


def fuzz(setting, folder):
    """Until the setting's time is up, or so many examples are made. `folder`: for files of the process."""
    outcome, deaths = Outcome(), 0
    while deaths < DEATHS_MAX:
        left = setting._replace(seed=setting.seed + deaths, examples=setting.examples - outcome.examples)
        once, died = run(left, Path(folder))
        outcome = outcome.and_then(once)
        if not died or time.monotonic() > setting.until or outcome.examples >= setting.examples:
            break
        deaths += 1
    return outcome


def run(setting, folder):
    """One process; answers its outcome, and whether it died."""
    for name in ("journal", "report"):
        (folder / name).unlink(missing_ok=True)
    journal = Journal(folder / "journal")
    status, told = start(folder, "--child", json.dumps(setting))
    if status == 0:
        report = json.loads((folder / "report").read_text())
        return Outcome(*report[:3], tuple(Finding(*each) for each in report[3])), False
    *counts, data = journal.read()
    if not counts[0] and not data:
        sys.exit(f"fuzz: {setting.name} did not begin: it ended with {status}\n{told}")
    return Outcome(counts[0] + 1, *counts[1:], (finding(setting, status, told, data, folder),)), True


def finding(setting, status, told, data, folder):
    """Of a process that died. Its input alone may not end another; then it takes those before it."""

    end = time.monotonic() + TRYING_SECONDS

    def dies(other):
        return start(folder, "--seconds-each", setting.each, "--replay", setting.name, as_text(other))[0] == status

    if dies(data):
        if status != -signal.SIGALRM:  # a hang takes its time at each try
            data = smaller(data, lambda other: time.monotonic() < end and dies(other), TRIES)
        again = as_text(data)
    else:
        again = None
        told += f"\nNot by this input alone, but by all from the start with --seed {setting.seed}: {as_text(data)}"
    return Finding(cause(status, setting.each), told[-TOLD_MAX:], again)


def cause(status, seconds):
    if status == -signal.SIGALRM:
        return f"hang: an example took more than {seconds:g} s"
    return f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with {status}"


def report(outcome, folder=""):
    """In the process itself: leave the outcome for `run`."""
    Path(folder, "report").write_text(json.dumps(outcome))
