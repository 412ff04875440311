"""Fixtures of several test files; a file that imports one has it."""
import gc
import importlib
import sys

import pytest

from secalloc_ext.heapobject import DEFAULT
from support.compiler import cython_module, shared_library


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
    return shared_library("hammer", tmp_path_factory.mktemp("hammer"))


@pytest.fixture(scope="module")
def guest_folder(tmp_path_factory):
    """Where arrayguest.pyx, compiled, can be imported from."""
    folder = tmp_path_factory.mktemp("guest")
    cython_module("arrayguest", folder)
    return folder


@pytest.fixture
def guest(guest_folder, monkeypatch):
    """arrayguest.pyx."""
    monkeypatch.syspath_prepend(guest_folder)
    yield importlib.import_module("arrayguest")
    del sys.modules["arrayguest"]
