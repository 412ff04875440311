"""The gate of `.ci/instructions`: what is above its ceiling is found. valgrind itself runs in CI, with a control."""
import importlib.util
import json
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent / "benchmarks" / "instructions.py"
SPEC = importlib.util.spec_from_file_location("instructions", FILE)
instructions = sys.modules["instructions"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(instructions)
Count = instructions.Count

COUNTS = [Count(name, 200.0 + 10 * i, 100.0) for i, name in enumerate(instructions.names())]


def doctored(**changes):
    """The ceilings of COUNTS, with some figures of the first changed."""
    stored = instructions.ceilings_for(COUNTS)
    stored["ceilings"][COUNTS[0].what] |= changes
    return stored


@pytest.fixture
def gate(monkeypatch, tmp_path, capsys):
    """`main` over given counts and stored ceilings: its exit status and what it printed."""

    def go(counts, stored, *arguments):
        def count():
            if isinstance(counts, Exception):
                raise counts
            return counts

        file = tmp_path / "ceilings.json"
        file.write_text(json.dumps(stored))
        monkeypatch.setattr(instructions, "count", count)
        status = instructions.main(list(arguments), file)
        return status, "".join(capsys.readouterr()), json.loads(file.read_text())

    return go


def test_what_is_counted_as_before_passes(gate):
    status, printed, _ = gate(COUNTS, doctored())
    assert status == 0
    assert printed.endswith(f"instructions: {len(COUNTS)} counts, none above its ceiling\n")


def test_a_doctored_ceiling_fails(gate):
    for changes, said in (
        ({"instructions": 199.0}, "instructions 200.00, above 199.00"),
        ({"ratio": 1.99}, "ratio 2.00, above 1.99"),
    ):
        status, printed, _ = gate(COUNTS, doctored(**changes))
        assert status == 1
        assert printed.splitlines()[-1] == f"{COUNTS[0].what}: {said}"


@pytest.mark.parametrize(("factor", "status"), [(0.5, 0), (1.07, 0), (1.09, 1)])
def test_eight_percent_are_room(gate, factor, status):
    slower = [Count(one.what, one.ours * factor, one.theirs) for one in COUNTS]
    assert gate(slower, doctored())[0] == status


def test_a_machine_on_which_both_take_more_is_found_by_the_count_alone(gate):
    status, printed, _ = gate([Count(one.what, 2 * one.ours, 2 * one.theirs) for one in COUNTS], doctored())
    assert status == 1
    assert printed.count(": instructions ") == len(COUNTS)
    assert ": ratio " not in printed


def test_nothing_passes_without_a_ceiling_or_for_another_python(gate):
    stored = doctored()
    del stored["ceilings"][COUNTS[-1].what]
    for lacking, said in (
        (stored, f"{COUNTS[-1].what}: no ceiling"),
        (doctored() | {"python": "2.7"}, "the ceilings are for Python 2.7"),
    ):
        status, printed, _ = gate(COUNTS, lacking)
        assert status == 1
        assert said in printed


def test_nothing_passes_uncounted(gate):
    assert gate(ValueError("no valgrind"), doctored())[:2] == (1, "instructions: no valgrind\n")


def test_an_update_stores_what_was_counted_and_room(gate):
    status, _, stored = gate(COUNTS, {"python": "2.7", "ceilings": {}}, "--update")
    assert status == 0
    assert stored["ceilings"][COUNTS[0].what] == {"instructions": 216.0, "ratio": 2.16}
    assert instructions.faults(COUNTS, stored) == []


def test_dumps_become_counts_of_the_second_loop_of_each():
    totals = [i * instructions.ROUNDS for i in range(1, 4 * len(COUNTS) + 1)]
    dumps = [f"desc: Trigger: --dump-after=loop_pair\nsummary: 1\ntotals: {total}\n" for total in totals]
    counts = instructions.counts_from(dumps)
    assert [one.what for one in counts] == instructions.names()
    assert [(one.ours, one.theirs) for one in counts[:2]] == [(3.0, 4.0), (7.0, 8.0)]
    for broken in (dumps[1:], [*dumps[:-1], "totals: 0\n"], []):
        with pytest.raises(ValueError, match=f"of {len(dumps)} loops"):
            instructions.counts_from(broken)


def test_the_names_that_valgrind_looks_for_are_functions_of_the_loops():
    from secalloc_ext import loops

    symbols = Path(loops.__file__).read_bytes()
    for name in instructions.COUNTED:
        assert b"\0" + name.encode() + b"\0" in symbols


def test_every_count_has_a_stored_ceiling():
    stored = json.loads(instructions.CEILINGS.read_text())
    assert list(stored["ceilings"]) == instructions.names()
    for ceiling in stored["ceilings"].values():
        assert 0 < ceiling["ratio"] < ceiling["instructions"]


def test_the_workload_runs_without_valgrind():
    instructions.work()
