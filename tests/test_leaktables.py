"""docs/NUMPY.md and docs/SCOPE.md against what was measured, and against what is measured here."""
import json
import os

import pytest
from leaktable import command, report
from leaktable.measuring import MOMENTS, measured
from numpyleaks import operations as arrays
from scopeleaks import operations as objects

PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
SUBJECTS = pytest.mark.parametrize("subject", [arrays, objects], ids=["numpy", "scope"])
# What the documents say of these is measured anew: nothing is left, and the control finds something without.
CLEAN = [
    (arrays, "a * 2 + 1", "handler"), (arrays, "np.exp(a)", "handler"), (arrays, "np.concatenate([a, b])", "scope"),
    (arrays, "saved(lambda path: snp.save(path, a))", "handler"), (arrays, "a.tolist()", "scope"),
    (objects, "json.loads(document)", "scope"), (objects, "text.upper().split('a')", "scope"),
    (objects, "base64.b64encode(data)", "scope"), (objects, "re.findall('..', text)", "scope"),
    (objects, "pickle.loads(pickle.dumps([text, data]))", "scope"), (objects, "int.from_bytes(data) * 3", "scope"),
    (objects, "decimal.Decimal(digits) * 3", "scope"),
]  # fmt: skip


@SUBJECTS
def test_the_document_is_what_was_measured(subject):
    assert subject.DOCS.read_text() == report.document(subject, report.measurements(subject))


@SUBJECTS
def test_the_measurements_are_of_every_operation_and_python(subject):
    measurements = report.measurements(subject)
    assert list(measurements) == PYTHONS
    assert len(subject.OPERATIONS) >= {arrays: 60, objects: 100}[subject]
    for each in measurements.values():
        assert list(each["operations"]) == list(subject.OPERATIONS)
        for name, found in each["operations"].items():
            assert list(found) == list(subject.BLOCKS)
            assert all(list(each) == list(MOMENTS) for each in found.values())
            assert found[next(iter(subject.BLOCKS))]["live"], f"{name}: the control found nothing"


@pytest.mark.parametrize(("subject", "name", "mode"), CLEAN, ids=[f"{name}, {mode}" for _, name, mode in CLEAN])
def test_what_is_clean_in_the_document_is_clean(subject, name, mode):
    assert {report.cell(each["operations"][name][mode]) for each in report.measurements(subject).values()} == {"clean"}
    assert measured(subject, name, mode) == {"live": {}, "after": {}}
    assert measured(subject, name, next(iter(subject.BLOCKS)))["live"], "the control found nothing"


@SUBJECTS
def test_the_command_prints_the_rows_of_a_word_and_writes_nothing(subject, capsys):
    word = {arrays: "np.exp(", objects: "base64.b85encode"}[subject]
    folder = subject.FOLDER / "measured"
    before = subject.DOCS.stat().st_mtime_ns, sorted(os.listdir(folder))
    command.main(subject, word)
    assert word in capsys.readouterr().out
    assert (subject.DOCS.stat().st_mtime_ns, sorted(os.listdir(folder))) == before
    assert json.loads((folder / before[1][0]).read_text())["versions"]
