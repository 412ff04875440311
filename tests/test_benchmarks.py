"""The suites of benchmarks/ run: with benchmarks disabled, each loop once."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run_suites(folder, *arguments):
    command = [sys.executable, "-P", "-m", "pytest", "--benchmark-disable", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def outcomes():
    """What became of each benchmark, by file: words such as PASSED."""
    done = run_suites(ROOT, "benchmarks", "-v")
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
    """Nor what it is compared with first. Other peers need not be installed, and a memlock limit is soon reached."""
    for words in outcomes.values():
        assert words.count("PASSED") >= 2


def test_a_suite_that_breaks_is_found(tmp_path):
    """The control, in a copy in which a peer's loop has another name."""
    for path in (ROOT / "benchmarks").glob("*.py"):
        (tmp_path / path.name).write_text(path.read_text().replace("found.peer.pair", "found.peer.pear"))
    done = run_suites(tmp_path, "-k", "one_object and secalloc")
    assert done.returncode == 1
    assert "AttributeError: 'secalloc_ext.loops.Peer' object has no attribute 'pear'" in done.stdout
