"""pytest's plug-in that puts the data of every array on secret pages, and looks at the end whether it did."""
import numpy as np
import pytest

from secalloc.numpy import is_secret
from secalloc_ext import nep49
from secalloc_ext.heapobject import DEFAULT


def pytest_configure(config):
    nep49.handler_set(nep49.handler_for(DEFAULT))


def pytest_sessionfinish(session):
    if not is_secret(np.ones(3)):
        pytest.exit("the arrays were not on secret pages", returncode=4)
    assert DEFAULT.is_valid()
