"""Every test that docs/TESTING.md names exists, and every test file is named there."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
REFERENCE = re.compile(r"`([\w/]+\.py)(?:::([^`]+))?`")


def names_of(node):
    """How a collected test may be named: function, scenario, or scenario without its last words behind a comma."""
    function, _, scenario = node.partition("[")
    scenario = scenario.removesuffix("]")
    return {function, scenario, *(scenario[: comma.start()] for comma in re.finditer(r",|-", scenario))}


def unknown(references, collected):
    """The references to tests that were not collected, and to files that are not there."""
    return [
        f"{file}::{name}" if name else file
        for file, name in references
        if (name not in collected.get(file, ()) if name else file not in collected and not (TESTS / file).exists())
    ]


@pytest.fixture(scope="module")
def references():
    return REFERENCE.findall((TESTS.parent / "docs" / "TESTING.md").read_text())


@pytest.fixture(scope="module")
def collected():
    """The names of all tests, by file."""
    command = [sys.executable, "-P", "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("tests/"):
            file, _, node = line.removeprefix("tests/").partition("::")
            found.setdefault(file, set()).update(names_of(node))
    return found


def test_every_test_named_in_the_document_exists(references, collected):
    assert len(references) > 150
    assert unknown(references, collected) == []


def test_every_test_file_is_named_in_the_document(references, collected):
    assert set(collected) - {file for file, _ in references} == set()
    assert {str(path.relative_to(TESTS)) for path in TESTS.rglob("test_*.py")} == set(collected)


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("`death/test_double_free.py::free twice at once`", []),
        ("`test_docs.py`, `test_docs.py::test_a_name_that_is_none_is_found`", []),
        ("`support/scenarios.py`", []),
        ("`test_gone.py`", ["test_gone.py"]),
        ("`death/test_double_free.py::free thrice`", ["death/test_double_free.py::free thrice"]),
        ("`test_docs.py::free twice at once`", ["test_docs.py::free twice at once"]),
    ],
)
def test_a_name_that_is_none_is_found(text, lost, collected):
    """The positive control."""
    assert unknown(REFERENCE.findall(text), collected) == lost
