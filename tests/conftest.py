"""Guards of the whole session."""
from pathlib import Path

import pytest

import secalloc


def pytest_sessionstart(session: pytest.Session) -> None:
    """The tests are about the installed package: a checkout on sys.path would hide what the wheel lacks."""
    if Path(secalloc.__file__).is_relative_to(session.config.rootpath / "secalloc"):
        pytest.exit("these are tests of the installed package: run `pytest`, not `python -m pytest`", 3)
