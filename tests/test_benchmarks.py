"""The suites of benchmarks/ run: with benchmarks disabled, each loop once."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def outcomes():
    """What became of each benchmark, by file: words such as PASSED."""
    options = ["--benchmark-disable", "-v", "-p", "no:cacheprovider"]
    command = [sys.executable, "-P", "-m", "pytest", "benchmarks", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr
    found = {}
    for file, outcome in re.findall(r"^benchmarks/(\w+\.py)::.* (PASSED|SKIPPED|FAILED|ERROR)", done.stdout, re.M):
        found.setdefault(file, []).append(outcome)
    return found


def test_every_suite_runs(outcomes):
    assert set(outcomes) == {path.name for path in (ROOT / "benchmarks").glob("test_*.py")}
    for words in outcomes.values():
        assert set(words) <= {"PASSED", "SKIPPED"}


def test_what_is_secalloc_s_own_is_never_skipped(outcomes):
    """Nor libc's, nor numpy's: what is compared with need not be installed."""
    assert outcomes["test_numpy.py"].count("SKIPPED") == 0
    for words in outcomes.values():
        assert words.count("PASSED") >= 2


def test_a_suite_that_breaks_is_found(tmp_path):
    """The control, in a copy in which a peer's loop has another name."""
    for path in (ROOT / "benchmarks").glob("*.py"):
        (tmp_path / path.name).write_text(path.read_text().replace("found.peer.pair", "found.peer.pear"))
    command = [sys.executable, "-P", "-m", "pytest", ".", "--benchmark-disable", "-q", "-k", "one_object and secalloc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "AttributeError: 'secalloc_ext.loops.Peer' object has no attribute 'pear'" in done.stdout
