"""`secalloc demo`, the main job, as a newcomer runs it."""
import json
import shutil
import subprocess
import sys

import pytest

from secalloc import attacks, demo

EVERY = set(attacks.ATTACKS)


def secalloc(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "secalloc", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def rows() -> list[demo.Row]:
    done = secalloc("demo", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    passed = [row.pop("passed") for row in told]
    rows = [demo.Row(**row) for row in told]
    assert [row.passed for row in rows] == passed
    return rows


@pytest.mark.parametrize("attack", sorted(EVERY))
def test_root_finds_the_ordinary_copies_and_not_the_secret_ones(rows: list[demo.Row], attack: str) -> None:
    [row] = [row for row in rows if row.attacker == "root" and row.attack == attack]
    assert row.skipped is None
    assert row.missed == []
    assert row.ordinary
    assert row.secret == []


@pytest.mark.parametrize("attack", sorted(EVERY - {"/proc/PID/map_files"}))
def test_the_same_user_finds_the_ordinary_copies_and_not_the_secret_ones(rows: list[demo.Row], attack: str) -> None:
    [row] = [row for row in rows if row.attacker == "same user" and row.attack == attack]
    assert (row.skipped, row.missed, row.secret) == (None, [], [])


def test_an_attack_that_cannot_run_is_neither_passed_nor_failed(rows: list[demo.Row]) -> None:
    [row] = [row for row in rows if row.attacker == "same user" and row.attack == "/proc/PID/map_files"]
    assert "CAP_CHECKPOINT_RESTORE" in str(row.skipped)
    assert row.passed is None
    assert not demo.verdict([row])


def test_a_careless_copy_of_the_secret_is_found_and_fails_the_demo() -> None:
    rows = demo.run("root", careless=True)
    found = {row.attack for row in rows if "secret key" in row.secret}
    assert {"/proc/PID/mem", "process_vm_readv", "core dump"} <= found
    assert not demo.verdict(rows)


def test_a_blind_attacker_fails_the_demo() -> None:
    blind = demo.Row("root", "/proc/PID/mem", [], [], ["ordinary key"], None)
    assert blind.passed is False
    assert not demo.verdict([blind])


def test_without_gdb_the_kernel_s_own_dump_is_searched(tmp_path, monkeypatch) -> None:
    for program in ("openssl",):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    monkeypatch.setenv("PATH", str(tmp_path))
    [row] = [row for row in demo.run("root") if row.attack == "core dump"]
    assert (row.skipped, row.missed, row.secret) == (None, [], [])


def test_the_table_names_every_attack_and_no_secret() -> None:
    done = secalloc("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    for attack in EVERY:
        assert attack in done.stdout
    assert "not found" not in done.stdout


def test_check_says_yes_on_this_machine() -> None:
    done = secalloc("check", "--json")
    assert done.returncode == 0
    assert {row["state"] for row in json.loads(done.stdout)} <= {"ok", "warning"}
    assert "memfd_secret" in secalloc("check").stdout


def test_without_click_the_command_line_says_what_to_install() -> None:
    code = "import sys; sys.modules['click'] = None; import secalloc.cli"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "secalloc: the command line needs click and rich: pip install 'secalloc[cli]'"
