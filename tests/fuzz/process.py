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

HERE = Path(__file__).parent
SHRINKING_SECONDS_MAX = 600  # beyond its time: what hypothesis may take to make failures smaller, and more
TOLD_MAX = 4_000  # characters of what a process left on standard error


class Setting(NamedTuple):
    """`until`: a moment of the monotonic clock, which all processes share; `each`: seconds that an example may take."""

    name: str
    until: float
    examples: int
    seed: int
    each: float
    findings: int
    grow: bool = False


class Outcome(NamedTuple):
    examples: int = 0
    valid: int = 0
    behaviours: int = 0
    findings: tuple = ()

    def and_then(self, other):
        return Outcome(self.examples + other.examples, self.valid + other.valid,
                       max(self.behaviours, other.behaviours), self.findings + other.findings)  # fmt: skip


def start(folder, *arguments, seconds=SHRINKING_SECONDS_MAX):
    """Run `python tests/fuzz` in another way to its end; answers its status and what it left on standard error."""
    options = {"cwd": folder, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    command = [sys.executable, "-P", "-X", "faulthandler", str(HERE), *map(str, arguments)]
    try:
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", timeout=seconds, **options)
    except subprocess.TimeoutExpired as error:
        return -signal.SIGKILL, f"{error}"
    return done.returncode, done.stderr


def fuzz(setting, folder):
    """Until the setting's time is up, or so many examples are made, or findings. `folder`: for files of the process."""
    outcome, died = Outcome(), True
    while died and len(outcome.findings) < setting.findings and outcome.examples < setting.examples:
        left = setting._replace(
            seed=setting.seed + len(outcome.findings),
            examples=setting.examples - outcome.examples,
            findings=setting.findings - len(outcome.findings),
        )
        once, died = run(left, Path(folder))
        outcome = outcome.and_then(once)
        died = died and time.monotonic() < setting.until
    return outcome


def run(setting, folder):
    """One process; answers its outcome, and whether it died."""
    for name in ("journal", "report", "reduced"):
        (folder / name).unlink(missing_ok=True)
    journal = Journal(folder / "journal")
    left = max(0, setting.until - time.monotonic())
    status, told = start(folder, "--child", json.dumps(setting), seconds=left + SHRINKING_SECONDS_MAX)
    if (folder / "report").exists():
        report = json.loads((folder / "report").read_text())
        return Outcome(*report[:3], tuple(Finding(*each) for each in report[3])), False
    *counts, data = journal.read()
    if counts[0] == 0:
        sys.exit(f"fuzz: {setting.name} did not begin: it ended with {status}\n{told}")
    return Outcome(*counts, (finding(setting, status, told, data, folder),)), True


def finding(setting, status, told, data, folder):
    """Of a process that died. Its input alone may not end another; then it takes those before it."""

    def dies(text):
        return start(folder, "--seconds-each", setting.each, "--replay", setting.name, text)[0] == status

    again = as_text(data)
    if status == 0:
        told += "\nAs a replay ends, too: it is this one if the replay says nothing."
    elif dies(again):
        start(folder, "--seconds-each", setting.each, "--reduce", setting.name, again, status)
        if (folder / "reduced").exists() and dies((folder / "reduced").read_text()):
            again = (folder / "reduced").read_text()
    else:
        told += f"\nNot by this input alone, but by all from the start with --seed {setting.seed}: {again}"
        again = None
    return Finding(cause(status, setting.each), told[-TOLD_MAX:], again)


def cause(status, seconds):
    if status == -signal.SIGALRM:
        return f"hang: an example took more than {seconds:g} s"
    return f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with {status} within an example"


def report(outcome, folder=""):
    """In the process itself: leave the outcome for `run`."""
    Path(folder, "report").write_text(json.dumps(outcome))
