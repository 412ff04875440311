"""Fixtures of several test files; a file that imports one has it."""
import gc
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest

from secalloc_ext.heapobject import DEFAULT


@pytest.fixture(autouse=True)
def nothing_leaks():
    """Every test gives back what it took from the default heap, and leaves the heap whole."""
    if DEFAULT.stats().live:
        gc.collect()  # what an earlier test's traceback still holds
    before = DEFAULT.stats()
    yield
    if DEFAULT.stats().live != before.live:
        gc.collect()
    after = DEFAULT.stats()
    assert (after.live, after.live_bytes) == (before.live, before.live_bytes)
    assert DEFAULT.is_valid()
    DEFAULT.trim()  # the memlock limit of an ordinary user is for all heaps


@pytest.fixture(scope="module")
def hammer_library(tmp_path_factory):
    """hammer.c, compiled."""
    path = tmp_path_factory.mktemp("hammer") / "hammer.so"
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    source = Path(__file__).with_name("hammer.c")
    subprocess.run([*compiler, "-O2", "-shared", "-fPIC", "-pthread", "-o", path, source], check=True)
    return path
