"""The statistics of benchmarks/constant_time.py, on times that are made up: no test goes by the clock."""
import importlib.util
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parent.parent / "benchmarks" / "constant_time.py"


@pytest.fixture(scope="module")
def test():
    spec = importlib.util.spec_from_file_location("constant_time", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made_up():
    """20,000 times, a bell with a tail as interrupts make it; and classes that have nothing to do with them."""
    rng = np.random.default_rng(5)
    times = rng.normal(50, 5, 20_000) + rng.exponential(500, 20_000) * (rng.random(20_000) < 0.01)
    return times, rng.integers(0, 2, 20_000).astype(np.int8)


def test_equal_classes_are_not_told_apart(test, made_up):
    assert test.largest_t(*made_up) < test.TOLD_APART


def test_a_class_that_takes_a_fiftieth_longer_is_told_apart(test, made_up):
    times, classes = made_up
    assert test.largest_t(times + classes, classes) > test.TOLD_APART


def test_welch_s_t_is_that_of_the_textbook(test):
    """Means 20.6 and 22.135, variances 62.51 and 15.12, of 10 and 20 values."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=10), rng.normal(size=20)
    a = (a - a.mean()) / a.std(ddof=1) * np.sqrt(62.51) + 20.6
    b = (b - b.mean()) / b.std(ddof=1) * np.sqrt(15.12) + 22.135
    assert test.welch(a, b) == pytest.approx((20.6 - 22.135) / np.sqrt(62.51 / 10 + 15.12 / 20))


def test_samples_that_do_not_vary_have_no_t(test):
    assert test.welch(np.ones(5), np.ones(7)) == 0
