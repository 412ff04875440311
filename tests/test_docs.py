"""Every test that a document names exists, and docs/TESTING.md names every test file."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
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


def references_of(document):
    return REFERENCE.findall((DOCS / document).read_text())


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


@pytest.mark.parametrize(
    ("document", "count"), [("TESTING.md", 150), ("PROOF.md", 40), ("THREAT_MODEL.md", 20)]
)
def test_every_test_named_in_a_document_exists(document, count, collected):
    references = references_of(document)
    assert len(references) > count
    assert unknown(references, collected) == []


def test_every_test_file_is_named_in_the_document(collected):
    assert set(collected) - {file for file, _ in references_of("TESTING.md")} == set()
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
