"""docs/CONSUMERS.md against what the libraries here do with a secret. Of those that are installed."""
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from consumers.__main__ import told
from consumers.cases import CASES
from consumers.measuring import outcome

DOCS = Path(__file__).parent.parent / "docs" / "CONSUMERS.md"
ROW = re.compile(r"\| .* \| `(?P<what>.*)` \| (?P<secure>.*) \| (\d+) \| (?P<revealed>.*) \| (\d+) \| (\d+) \|")


def is_here(package):
    try:
        return package == "" or distribution(package) is not None
    except PackageNotFoundError:
        return False


def rows():
    """By what a case does: whether a form is taken, and the copies that it leaves."""
    found = {}
    for match in ROW.finditer(DOCS.read_text()):
        what, secure, secure_copies, revealed, revealed_copies, _ = match.group("what", "secure", 3, "revealed", 5, 6)
        found[what] = {"SecureBytes": (secure, int(secure_copies)), "reveal": (revealed, int(revealed_copies))}
    return found


HERE = [name for name, case in CASES.items() if is_here(case.package)]


@pytest.mark.parametrize("form", ["SecureBytes", "reveal"])
@pytest.mark.parametrize("name", HERE)
def test_a_library_does_what_the_table_says(name, form):
    taken, copies = rows()[CASES[name].what][form]
    result = outcome(name, form)
    assert told(result).split(":")[0] == taken.split(":")[0], result
    if taken == "yes" and copies == 0:
        assert result.copies == 0, result
    else:
        assert result.copies <= max(copies, 1) * 2, result  # how many it leaves is not the same each time


@pytest.mark.parametrize("name", HERE)
def test_a_copy_that_is_kept_is_found(name):
    assert outcome(name, "kept").copies > 0


def test_every_case_has_its_row_or_says_why_not():
    text = DOCS.read_text()
    assert {case.what for case in CASES.values()} == {
        case.what for case in CASES.values() if case.what in rows() or f"Not measured: {case.name.lower()}" in text
    }
