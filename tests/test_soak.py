"""The soak passes here, if only for a moment, and finds what it is there to find."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).with_name("soak.py")


def soak(*options):
    environment = {"CFLAGS": " ".join([os.environ.get("CFLAGS", ""), *options]), "PYTHONPATH": SOAK.parent}
    command = [sys.executable, "-P", SOAK, "0"]  # seconds: its fewest batches
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


def test_a_short_soak_passes_and_says_how_much_it_did():
    done = soak()
    assert done.returncode == 0, done.stdout + done.stderr
    *parts, last = done.stdout.splitlines()
    assert last == "soak: passed"
    assert [part.partition("(")[2].partition(")")[0] for part in parts] == ["isolate, fast", "copy, full"]
    assert all(int(part.split()[0]) > 10_000 for part in parts)


@pytest.mark.parametrize(
    ("fault", "found"),
    [("FORGET", "soak: after batch 0 6 objects live"), ("OPEN", "soak: grown by batch 7: descriptors")],
)
def test_a_soak_finds_what_is_left_behind(fault, found):
    done = soak(f"-DFAULT_{fault}")
    assert done.returncode == 1
    assert found in done.stderr
    assert "soak: passed" not in done.stdout
