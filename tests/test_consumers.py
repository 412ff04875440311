"""docs/CONSUMERS.md against what the libraries here do with a secret. Of those that are installed."""
import re
import sys
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
MEASURED_ON = re.search(r"CPython (\d+)\.(\d+)", DOCS.read_text()).groups()


@pytest.mark.parametrize("form", ["SecureBytes", "reveal"])
@pytest.mark.parametrize("name", HERE)
def test_a_library_takes_what_the_table_says_and_is_clean_where_that_says_so(name, form):
    """Clean: on the Python that the table was made on, as what is left is not the same on each; but for the stack, as
    which functions a library chooses depends on the processor; and in one of three tries, as it is not the same each
    time: a copy that is always made is found in all."""
    taken, copies = rows()[CASES[name].what][form]
    result = outcome(name, form)
    assert told(result).split(":")[0] == taken.split(":")[0], result
    if copies == 0 and not CASES[name].result and tuple(map(str, sys.version_info[:2])) == MEASURED_ON:
        tries = result, outcome(name, form), outcome(name, form)
        assert any(set(each.where) <= {"[stack]"} for each in tries), tries


@pytest.mark.parametrize("name", HERE)
def test_a_copy_that_is_kept_is_found(name):
    assert outcome(name, "kept").copies > 0


def test_every_case_has_its_row_or_says_why_not():
    text = DOCS.read_text()
    assert {case.what for case in CASES.values()} == {
        case.what for case in CASES.values() if case.what in rows() or f"Not measured: {case.name.lower()}" in text
    }
