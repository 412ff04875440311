"""`secalloc demo`, the main job, as a newcomer runs it."""
import json
import os
import resource
import subprocess
import sys

import pytest
from support.attacking import must_run

import secalloc as package
from secalloc import attacks, cli, demo, holder, rounds
from secalloc.table import Cell, plain_table

HIDDEN = set() if os.path.exists("/proc/kcore") else {"pagemap, kcore"}  # where the kernel shows nothing of itself
EVERY = set(attacks.ATTACKS) - HIDDEN
CAPABLE = {"/proc/PID/map_files", "pagemap, kcore"} - HIDDEN  # need a capability


def secalloc(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-P", "-m", "secalloc", *arguments], capture_output=True, text=True, check=False, **options
    )


def row_of(rows, attacker, attack):
    """The row of an attack that ran."""
    if os.geteuid() != 0 and attacker == "root":
        pytest.skip("started by another user than root")
    [row] = [row for row in rows if (row.attacker, row.attack) == (attacker, attack)]
    must_run(row.skipped)
    assert row.failed is None
    return row


@pytest.fixture(scope="module", autouse=True)
def memfd_secret():
    """The demo is about what memfd_secret hides."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECALLOC_BACKEND", "secretmem")
        yield


@pytest.fixture(scope="module")
def rows():
    done = secalloc("demo", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    told = json.loads(done.stdout)
    passed = [row.pop("passed") for row in told]
    rows = [demo.Row(**row) for row in told]
    assert [row.passed for row in rows] == passed
    return rows


@pytest.mark.parametrize("attack", sorted(EVERY))
def test_root_finds_the_ordinary_copies_and_not_the_secret_ones(rows, attack):
    row = row_of(rows, "root", attack)
    assert set(demo.EXPECTED.get(attack, demo.COPIES)) <= set(row.ordinary)
    assert (row.missed, row.secret, row.passed) == ([], [], True)


@pytest.mark.parametrize("attack", sorted(EVERY - CAPABLE))
def test_the_same_user_finds_the_ordinary_copies_and_not_the_secret_ones(rows, attack):
    row = row_of(rows, "same user", attack)
    assert set(demo.EXPECTED.get(attack, demo.COPIES)) <= set(row.ordinary)
    assert (row.missed, row.secret, row.passed) == ([], [], True)


def test_an_attack_that_cannot_run_is_neither_passed_nor_failed(rows):
    [row] = [row for row in rows if row.attacker == "same user" and row.attack == "/proc/PID/map_files"]
    assert "CAP_CHECKPOINT_RESTORE" in str(row.skipped)
    assert row.passed is None
    assert not demo.verdict([row])


@pytest.mark.parametrize("attacker", ["root", "same user"])
def test_every_attack_notices_a_holder_that_leaks_its_secrets(leaking, attacker):
    status, rows = leaking
    assert status == 1
    for attack in EVERY - (CAPABLE if attacker == "same user" else set()):
        row = row_of(rows, attacker, attack)
        assert row.secret == ["secret array", "secret key", "secret password"]
        assert row.passed is False


def test_the_demo_says_no_to_the_backend_that_others_can_read(monkeypatch):
    monkeypatch.setenv("SECALLOC_BACKEND", "mlock")
    rows = demo.run("this user")
    unseen = {"pidfd_getfd", "/proc/PID/fd", "/proc/PID/map_files", "fork", "exec", "gcore", "kernel core dump"}
    assert {row.attack for row in rows if row.secret} == EVERY - unseen
    assert not demo.verdict(rows)


@pytest.fixture(scope="module")
def leaking():
    """The exit status and the rows of a demo whose holder keeps its secrets in ordinary memory, too."""
    code = "import sys; from secalloc.cli import run_demo; sys.exit(run_demo(as_json=True, careless=True))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    rows = [{name: value for name, value in row.items() if name != "passed"} for row in json.loads(done.stdout)]
    return done.returncode, [demo.Row(**row) for row in rows]


def row(**fields):
    return demo.Row("root", "/proc/PID/mem", "", **fields)


def test_a_blind_attacker_fails_the_demo():
    blind = row(missed=["ordinary key"])
    assert blind.passed is False
    assert not demo.verdict([row(ordinary=["ordinary key"]), blind])


def test_an_attack_that_broke_fails_the_demo():
    broken = row(failed="No such process")
    assert broken.passed is False
    assert not demo.verdict([row(ordinary=["ordinary key"]), broken])


def test_skipped_rows_do_not_fail_the_demo_but_cannot_pass_it():
    assert demo.verdict([row(ordinary=["ordinary key"]), row(skipped="no gdb")])
    assert not demo.verdict([row(skipped="no gdb")])
    assert not demo.verdict([])


def test_without_gdb_gcore_is_skipped_and_the_kernel_s_dump_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = demo.run("this user")
    assert [row.skipped for row in rows if row.attack == "gcore"] == ["gdb is not installed"]
    row_of(rows, "this user", "kernel core dump")
    assert demo.verdict(rows)


def test_without_openssl_the_library_makes_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    key, secret = holder.make_key()
    assert key.startswith(holder.PKCS8_ED25519)
    assert secret[:16] == holder.PKCS8_ED25519
    assert len(key) == len(secret) == holder.KEY_FILE_BYTES
    assert secret != key


def test_without_either_the_key_is_missing_and_told_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(holder.importlib.util, "find_spec", lambda name: None)
    held = holder.hold()
    assert list(held.missing) == ["key"]
    assert "install the openssl program or the cryptography library" in held.missing["key"]
    assert "secret key" not in {needle.name for needle in held.needles}


def test_a_program_that_makes_no_such_key_is_passed_over(tmp_path, monkeypatch):
    old = tmp_path / "openssl"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert holder.make_key()[0].startswith(holder.PKCS8_ED25519)


def test_the_two_keys_are_private_keys_of_their_own():
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    key, secret = holder.make_key()
    numbers = {load_der_private_key(bytes(data), None).private_bytes_raw() for data in (key, secret)}
    assert len(numbers) == 2


def test_what_is_not_installed_is_a_skipped_row():
    code = """
import sys
sys.modules["numpy"] = None
from secalloc.holder import hold, intact
held = hold()
assert list(held.missing) == ["array"] and "secalloc[numpy]" in held.missing["array"]
assert not any("array" in needle.name for needle in held.needles) and all(map(intact, held.needles))
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_holder_without_any_secret_shows_nothing(monkeypatch):
    """Not finding what is not there would pass. An ordinary user with a memlock limit of 0 can hold no secret."""
    limits = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, limits[1]))
    try:
        rows = demo.run("same user", demo.ORDINARY_UID)
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, limits)
    assert {row.passed for row in rows} == {None}
    assert any("RLIMIT_MEMLOCK" in str(row.skipped) for row in rows)
    assert not demo.verdict(rows)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_user_that_cannot_be_had_is_a_skipped_round():
    """A container's root may become the users that the container has, no others."""
    code = "import secalloc.holder as h\ndef no(uid): raise OSError(22, 'Invalid argument')\nh.become = no\nh.main()"
    refused = rounds.Round(["-c", code, ""], demo.ORDINARY_UID)
    with pytest.raises(rounds.Refused, match=f"cannot become user {demo.ORDINARY_UID}: Invalid argument"), refused:
        pass


@pytest.mark.parametrize("error", [OSError(22, "Invalid argument"), PermissionError(1, "Operation not permitted")])
def test_a_folder_that_cannot_be_given_away_is_a_skipped_round(monkeypatch, error):
    def refuse(*arguments):
        raise error

    monkeypatch.setattr(rounds.os, "chown", refuse)
    [row] = demo.run("same user", demo.ORDINARY_UID)
    assert row.skipped == f"no folder can be given to user {demo.ORDINARY_UID}: {error.strerror}"
    assert row.passed is None


def test_a_holder_that_ends_early_is_no_result():
    ended = rounds.Round(["-c", "raise SystemExit(3)"])
    with pytest.raises(rounds.RoundError, match="ended with 3"), ended:
        pass


def test_a_holder_that_lost_its_secret_is_no_result():
    code = """
import sys
from secalloc import SecureBytes
from secalloc.holder import Held, address_of, serve
def hold():
    held = Held()
    secret = SecureBytes.random(32)
    held.add("secret key", memoryview(secret), address_of(secret))
    secret[0] ^= 1
    held.objects.append(secret)
    return held
serve(hold, sys.argv[1])
"""
    with rounds.Round(["-c", code]) as held, pytest.raises(rounds.RoundError, match="secret key"):
        held.check_in_place()


def test_no_needle_is_in_an_argument_or_in_the_environment():
    with rounds.Round(["-m", "secalloc.holder", ""]) as held:
        for file in ("cmdline", "environ"):
            with open(f"/proc/{held.target.pid}/{file}", "rb") as told:
                text = told.read()
            for needle in held.target.needles:
                assert needle.plain() not in text
                assert needle.plain().hex().encode() not in text
                assert needle.coded.encode() not in text


def test_the_table_names_every_attack():
    done = secalloc("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    for attack in EVERY:
        assert attack in done.stdout
    assert "not found" not in done.stdout
    assert "failed" not in done.stdout


def test_the_table_tells_missed_leaked_skipped_and_broken_apart():
    lines = [
        row(ordinary=["ordinary key"]),
        row(missed=["ordinary key"]),
        row(ordinary=["ordinary key"], secret=["secret key"]),
        row(skipped="no gdb"),
        row(failed="No such process"),
    ]
    assert [tuple(cell.text for cell in cli._demo_line(line)[2:]) for line in lines] == [
        ("found: key", "nothing"),
        ("not found: ordinary key", "nothing"),
        ("found: key", "found: key"),
        ("skipped (no gdb)", "skipped"),
        ("failed: No such process", "not known"),
    ]


def test_check_says_yes_on_this_machine():
    done = secalloc("check", "--json")
    assert done.returncode == 0
    assert {row["state"] for row in json.loads(done.stdout)} <= {"ok", "warning"}
    assert "memfd_secret" in secalloc("check").stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_check_says_no_where_no_page_can_be_locked():
    code = """
import resource
from secalloc import attacks, check, cli
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
attacks.become(65534)
cli.main(["check", "--json"])
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    problems = [row["name"] for row in json.loads(done.stdout) if row["state"] == "problem"]
    assert problems == ["RLIMIT_MEMLOCK"]


def test_without_secret_memory_the_demo_says_why_and_fails(monkeypatch, capsys):
    unavailable = package.SecretMemoryUnavailable(1, "forbidden here")
    monkeypatch.setattr("secalloc_ext.heapobject.probe", lambda: unavailable)
    assert cli.run_demo(as_json=True) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", "secalloc demo: forbidden here\n")


def test_the_version_is_told():
    assert secalloc("--version").stdout == f"secalloc, version {package.__version__}\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["demo", "--nonsense"], ["check", "too", "many"]])
def test_a_wrong_command_line_is_refused(arguments):
    done = secalloc(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage" in done.stderr


def without(module, *arguments):
    code = f"import sys; sys.modules[{module!r}] = None; from secalloc.cli import main; main({list(arguments)})"
    return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)


def test_without_click_the_command_line_says_what_to_install():
    done = without("click", "check")
    assert done.returncode == 2
    assert done.stderr == "secalloc: the command line needs click: pip install 'secalloc[cli]'\n"


def test_without_rich_the_table_is_plain_text():
    done = without("rich.console", "check")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.isascii()
    assert "memfd_secret" in done.stdout


def test_a_plain_table_has_aligned_columns():
    text = plain_table("title", ["a", "bb"], [[Cell("long", "ok"), Cell("x")], [Cell("s"), Cell("[red]")]])
    assert text == "title\na     bb\n----  -----\nlong  x\ns     [red]"


def test_brackets_in_a_value_are_shown_as_they_are(capsys):
    from secalloc.table import print_table

    print_table("title", ["a"], [[Cell("|/bin/[bold]x[/bold]")]])
    assert "|/bin/[bold]x[/bold]" in capsys.readouterr().out
