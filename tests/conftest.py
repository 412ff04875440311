"""Guards of the whole session."""
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test is about the clock, and a machine may be busy: an example takes the time it takes.
settings.register_profile("secalloc", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("secalloc")


BACKENDS = ("secretmem", "mlock", "auto")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--state-machine-steps", type=int, default=10_000,
                     help="steps of test_state_machine.py in all; a million: an hour, and --timeout=0")  # fmt: skip


    parser.addoption("--method-examples", type=int, default=10_000,
                     help="examples of test_securebytes_methods.py in all")  # fmt: skip


def backend() -> str:
    """What the tests that name no backend run under, and their children: see `secalloc.configure`."""
    return os.environ.get("SECALLOC_BACKEND", "secretmem")


def pytest_report_header() -> str:
    return f"secalloc: backend {backend()}"


def pytest_sessionstart(session: pytest.Session) -> None:
    """The tests are about the installed package: a checkout on sys.path would hide what the wheel lacks."""
    if backend() not in BACKENDS:
        pytest.exit(f"SECALLOC_BACKEND is {backend()!r}, none of {', '.join(BACKENDS)}", 3)
    for name in ("secalloc", "secalloc_ext"):  # found, not imported: a checkout that is not built has no import
        spec = find_spec(name)
        if spec and spec.origin and Path(spec.origin).is_relative_to(session.config.rootpath / name):
            pytest.exit("these are tests of the installed package: run `pytest`, not `python -m pytest`", 3)
