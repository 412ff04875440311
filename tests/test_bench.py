"""`secalloc bench`: what it writes, its verdict and its exit status. No test is about how fast anything is."""
import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from secalloc import bench, cli, results, rows
from secalloc.measure import Measured
from secalloc.rows import Row

SOME = "^one .* 32 B, against (malloc|libsodium)|^wipe|^curve: cost by size|memlock: (secalloc|libsodium)"
FILES = {"bench.json", "RESULTS.md", "cost-by-size.svg", "cost-by-size.png", "secrets-per-memlock.svg",
         "secrets-per-memlock.png"}  # fmt: skip


def secalloc_bench(*arguments, without=None):
    hidden = f"sys.modules[{without!r}] = None;" if without else ""
    code = f"import sys; {hidden} from secalloc.cli import main; main(prog_name='secalloc')"
    command = [sys.executable, "-P", "-c", code, "bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A quick run: its folder, and the process."""
    folder = tmp_path_factory.mktemp("bench") / "new"
    done = secalloc_bench("--quick", "--only", SOME, "--output", folder)
    assert done.returncode in (0, 1), done.stderr
    return folder, done


@pytest.fixture(scope="module")
def told(made):
    return json.loads((made[0] / "bench.json").read_text())


def row(ratio=None, *, group="g", what="w", **options):
    """A row whose measurement answers that ratio; without one it is skipped."""
    measure = None if ratio is None else lambda rounds: Measured(ratio, 1.0, ratio, ratio, ratio)
    return Row(group, what, "them", "ns", *options.pop("goals", (1.0, 1.5)), measure,
               "not there" if measure is None else None, **options)  # fmt: skip


def broken(error):
    def measure(rounds):
        raise error

    return Row("g", "broken", "them", "ns", 1.0, 1.5, measure)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`secalloc bench` over given rows, in this process: its exit status and what it printed."""

    def go(*given, arguments=("--only", "^g: ", "--no-plots")):
        monkeypatch.setattr(bench, "rows", lambda: iter(given))
        done = CliRunner().invoke(cli.main, ["bench", "--output", str(tmp_path), *arguments])
        assert isinstance(done.exception, SystemExit | None), done.exception
        return done.exit_code, done.output

    return go


def test_a_run_writes_json_a_document_and_plots(made):
    folder, done = made
    assert {path.name for path in folder.iterdir()} == FILES
    assert done.stdout.endswith(f"written to {folder}\n")
    assert "memset" in done.stdout


def test_the_json_tells_machine_peers_rows_and_curves(told):
    assert set(told) == {"machine", "effort", "peers", "rows", "curves", "secrets"}
    assert set(told["machine"]) == {"CPU", "memory", "kernel", "libc", "compiler", "Python", "numpy", "secalloc"}
    assert told["machine"]["Python"].split()[-1] == sys.version.split()[0]
    assert all(told["machine"].values())
    for peer in told["peers"]:
        assert set(peer) in ({"name", "version", "path"}, {"name", "absent"})
        assert all(peer.values())
    assert {"secalloc", "malloc + explicit_bzero", "SecureBytes", "bytearray + zeroize"} <= {
        peer["name"] for peer in told["peers"]
    }


def test_a_row_of_the_json_has_its_quartiles_its_goals_and_its_verdict(told):
    measured = [row for row in told["rows"] if row["verdict"] != "skipped"]
    assert {row["group"]: row["more_is_better"] for row in measured} == {"one object at a time": False, "wipe": True}
    for row in measured:
        assert row["low"] <= row["ratio"] <= row["high"]
        assert row["ours"] > 0
        assert {"target", "must", "unit", "against", "what"} <= set(row)
        assert row["verdict"] in ("target", "must", "missed")
    assert all(row["reason"] for row in told["rows"] if row["verdict"] == "skipped")


def test_the_status_is_that_of_the_rows(made, told):
    assert made[1].returncode == ("missed" in [row["verdict"] for row in told["rows"]])


def test_every_peer_that_is_there_has_a_point_at_every_size_or_says_why_not(told):
    [curves] = told["curves"]
    there = [peer["name"] for peer in told["peers"] if peer["name"] in curves["points"]]
    assert "secalloc" in there
    for name, points in curves["points"].items():
        assert all(ns > 0 for _, ns in points)
        assert len(points) == 13 or name in curves["left_out"]


def test_the_secrets_within_the_limit_are_counted_by_the_kernel(told):
    by_name = {each["name"]: each for each in told["secrets"]}
    assert by_name["secalloc"]["memlock"] == 256 << 10
    assert by_name["secalloc"]["locked"] <= 256 << 10
    assert 256 << 10 > by_name["secalloc"]["secrets"] * 32 > 128 << 10


def test_plots_are_well_formed(made):
    for name in FILES:
        if name.endswith(".svg"):
            root = ElementTree.parse(made[0] / name).getroot()
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert "secalloc" in "".join(root.itertext())
        elif name.endswith(".png"):
            assert (made[0] / name).read_bytes().startswith(b"\x89PNG")


def test_the_document_embeds_what_was_plotted_and_tells_every_row(made, told):
    text = (made[0] / "RESULTS.md").read_text()
    assert set(re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)) == {name for name in FILES if name.endswith(".svg")}
    for row in told["rows"]:
        assert f"| {row['group']}: {row['what']} | {row['against']} |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables if "object at a time" in line}) == 1


@pytest.mark.parametrize(
    ("given", "verdict", "status"),
    [
        (row(0.9), "target", 0),
        (row(1.0), "target", 0),
        (row(1.2), "must", 0),
        (row(1.5), "must", 0),
        (row(1.501), "missed", 1),
        (row(1.1, goals=(1.0, 0.9), more_is_better=True), "target", 0),
        (row(0.95, goals=(1.0, 0.9), more_is_better=True), "must", 0),
        (row(0.89, goals=(1.0, 0.9), more_is_better=True), "missed", 1),
        (row(), "skipped", 0),
        (broken(MemoryError("pool is full")), "failed", 1),
        (broken(OSError("no such thing")), "failed", 1),
    ],
)
def test_the_status_is_1_only_where_a_must_is_missed(run, given, verdict, status):
    assert bench.measure(given, 2).verdict == verdict
    code, printed = run(given)
    assert code == status
    assert results.WORDS[verdict] in printed


def test_one_missed_row_among_others_is_enough_and_all_are_measured(run, tmp_path):
    assert run(row(2.0, what="first"), row(0.5, what="last"))[0] == 1
    told = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [(row["what"], row["verdict"]) for row in told] == [("first", "missed"), ("last", "target")]
    assert "NOT every `must` is met: 1 target reached, 1 MISSED" in (tmp_path / "RESULTS.md").read_text()


def test_a_row_that_breaks_tells_how(run, tmp_path):
    assert "pool is full" in run(broken(MemoryError("pool is full")))[1]
    [told] = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert told["reason"] == "MemoryError: pool is full"
    assert "ratio" not in told


def test_only_what_matches_is_measured(run, tmp_path):
    assert run(row(9.0, what="left out"), row(0.5, what="Chosen"), arguments=("--only", "chosen", "--no-plots"))[0] == 0
    assert [row["what"] for row in json.loads((tmp_path / "bench.json").read_text())["rows"]] == ["Chosen"]


def test_the_list_measures_nothing(run, tmp_path):
    code, printed = run(broken(AssertionError("measured")), arguments=("--list",))
    assert code == 0
    assert printed.splitlines()[0] == "g: broken, against them"
    assert "secrets within memlock: libgcrypt" in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", ["--only=(", "--only=no such row", "--rounds=1", "--output=/etc/passwd"])
def test_a_wrong_command_line_is_refused(run, arguments):
    code, printed = run(row(0.5), arguments=[arguments])
    assert code == 2
    assert "Usage" in printed


def test_without_matplotlib_all_but_the_plots_is_written(tmp_path):
    done = secalloc_bench("--quick", "--only", "^wipe", "--output", tmp_path, without="matplotlib")
    assert done.returncode in (0, 1)
    assert "no plots: " in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"bench.json", "RESULTS.md"}
    assert "Plots" not in (tmp_path / "RESULTS.md").read_text()


def test_a_bar_and_a_line_break_in_a_reason_do_not_break_the_table():
    report = bench.Report(bench.QUICK, machine={})
    report.results = [bench.Result(Row("g", "a|b", "them", "ns", 1.0, 1.5, skipped="two\nlines"))]
    assert "| g: a\\|b | them |" in results.markdown(report, [])
    assert "skipped: two lines |" in results.markdown(report, [])


def test_every_peer_has_its_goals_and_its_colour():
    from secalloc import peers, plots, pypeers

    assert set(rows.PEER_GOALS) == set(peers._MAKERS) - {"secalloc", "malloc + explicit_bzero"}
    assert set(rows.PYTHON_GOALS) == set(pypeers._MAKERS) - {"SecureBytes"}
    assert set(plots.COLOURS) == set(peers._MAKERS) >= set(bench.density.CONTESTANTS)
