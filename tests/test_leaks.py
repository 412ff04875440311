"""`secalloc.leaks`: the scan that users run. Each of its answers is shown in both directions: what is there, what is
not."""
import base64
import ctypes
import json
import os
import subprocess
import sys

import pytest
from support.children import succeed

from secalloc import SecureBytes, leaks

# What the programs hold rightly, they hold on pages that the scan cannot read.
SECRET_PAGES = os.environ | {"SECALLOC_BACKEND": "secretmem"}
CLI = [sys.executable, "-P", "-m", "secalloc", "leaks"]
READ = "import sys; text = sys.stdin.readline().strip()"
# What a program does with its secret, and the form that is found of it.
FORMS = {
    "itself": "kept = text[:]",
    "hex": "kept = text.encode().hex()",
    "HEX": "kept = text.encode().hex().upper()",
    "backwards": "kept = text[::-1]",
    "base64 +0": "import base64; kept = base64.b64encode(text.encode())",
    "base64 +1": "import base64; kept = base64.b64encode(b'a' + text.encode())",
    "base64 +2": "import base64; kept = base64.b64encode(b'ab' + text.encode())",
    "UTF-16": "kept = text.encode('utf-16')",
    "UTF-32": "kept = text.encode('utf-32')",
    "int, big-endian": "kept = int.from_bytes(text.encode(), 'big')",
    "int, little-endian": "kept = int.from_bytes(text.encode(), 'little')",
}  # fmt: skip


def program(code, *options, by=()):
    """What `secalloc leaks` says of a program that ends at once, with all it has: (exit status, leaks)."""
    command = [*CLI, "--json", *by, *options, "--", sys.executable, "-c", code + "\nimport os; os._exit(0)"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=50, env=SECRET_PAGES)
    return done.returncode, json.loads(done.stdout)["leaks"]


def ran(code):
    """`secalloc leaks` of a program."""
    return subprocess.run([*CLI, "--", sys.executable, "-c", code], capture_output=True, text=True, timeout=50)


def test_a_secret_on_secret_pages_is_not_found_and_copies_of_it_are():
    succeed(
        """
        from secalloc import leaks
        secret, other = leaks.marker(), leaks.marker(64)
        assert leaks.scan(secret, other) == []
        copy = bytearray(other)[10:50]
        found = leaks.scan(secret, other)
        assert {leak.secret for leak in found} == {1}
        assert {leak.form for leak in found} == {"itself"}
        assert all(leak.parts > 0 and leak.area in ("heap", "anonymous", "stack") for leak in found)
        """
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_the_secret_is_found_in_a_program(form):
    status, found = program(f"{READ}\n{FORMS[form]}")
    assert status == 1
    assert form in {leak["form"] for leak in found}


def test_nothing_is_found_where_there_is_nothing():
    assert program("from secalloc import SecureBytes; key = SecureBytes.from_prompt(stdin=True)") == (0, [])


@pytest.mark.parametrize(
    ("by", "read"),
    [("--env", "import os; kept = os.environ['TOKEN']"),
     ("--file", "import os; kept = open(os.environ['TOKEN']).read()")],
)
def test_the_secret_comes_by_the_way_that_is_asked_for(by, read):
    status, found = program(read, "--name", "TOKEN", by=[by])
    assert status == 1
    areas = {leak["area"] for leak in found}
    assert ("stack" in areas) is (by == "--env")  # where the kernel puts the environment


def test_the_file_stands_for_braces_in_the_command():
    code = "import sys; from secalloc import SecureBytes as S; key = S.from_file(sys.argv[1]); assert len(key) == 32"
    command = [*CLI, "--file", "--", sys.executable, "-P", "-c", code, "{}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd="/", env=SECRET_PAGES)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing of the secret was found" in done.stdout


def test_where_something_is_found_is_told_and_never_what():
    done = ran(f"{READ}; print(text, file=sys.stderr)")
    assert done.returncode == 1
    secret = done.stderr.strip()
    assert len(secret) == 32
    assert "itself" in done.stdout
    for form in leaks.forms(secret.encode()).values():
        assert form.decode("latin-1")[:12] not in done.stdout


def test_a_program_that_fails_or_is_not_there_is_no_clean_one():
    done = ran("raise SystemExit(3)")
    assert (done.returncode, "ended with 3" in done.stderr) == (2, True)
    done = subprocess.run([*CLI, "--", "/does/not/exist"], capture_output=True, text=True, timeout=50)
    assert (done.returncode, "No such file" in done.stderr) == (2, True)


def test_a_program_that_starts_others_takes_signals_and_has_threads_is_run_to_its_end():
    code = """
import os, signal, subprocess, sys, threading
text = sys.stdin.readline()
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
os.kill(os.getpid(), signal.SIGUSR1)
threads = [threading.Thread(target=lambda: sum(range(10_000))) for _ in range(3)]
for thread in threads: thread.start()
subprocess.run(["true"], check=True)
for thread in threads: thread.join()
sys.exit(0 if seen else 4)
"""
    done = ran(code)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_scan_that_cannot_see_its_control_says_that_it_is_blind(monkeypatch):
    monkeypatch.setattr(leaks, "PART_BYTES", 12)
    real = leaks.needle_of
    # The scanner is told another control than the one that is in memory.
    monkeypatch.setattr(leaks, "needle_of", lambda name, data, address: real(name, bytes(range(len(data))), address))
    with pytest.raises(leaks.Blind, match="control"):
        leaks.scan(leaks.marker())
    monkeypatch.setattr(leaks, "run_program", lambda command, **named: leaks.Ended(0, []))
    with pytest.raises(leaks.Blind, match="control"):
        leaks.control()


@pytest.mark.parametrize("size", [0, 1, 15])
def test_a_secret_that_would_be_found_by_chance_is_refused(size):
    with pytest.raises(ValueError, match="fewer than 16 bytes"):
        leaks.scan(SecureBytes(size))
    with pytest.raises(ValueError, match="fewer than 16 bytes"):
        leaks.scan_process(os.getppid(), bytes(size))


def test_who_forbids_to_be_looked_into_cannot_be_scanned():
    """Without CAP_SYS_PTRACE, as an ordinary user's processes are: then they may look into each other, if allowed."""
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork
    PR_SET_DUMPABLE, PR_CAPBSET_DROP, CAP_SYS_PTRACE = 4, 24, 19
    succeed(
        f"""
        import ctypes
        from secalloc import leaks
        secret = leaks.marker()
        assert leaks.scan(secret) == []
        assert ctypes.CDLL(None).prctl({PR_SET_DUMPABLE}, 0, 0, 0, 0) == 0
        try:
            leaks.scan(secret)
            raise SystemExit("it was")
        except OSError as error:
            assert "cannot be read" in str(error), error
        """,
        preexec_fn=lambda: prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0),
    )


def test_forms_are_of_the_secret():
    secret = bytes(range(48, 80))
    found = leaks.forms(secret)
    assert base64.b64encode(secret)[:-4] == found["base64 +0"]
    for shift in (1, 2):
        assert found[f"base64 +{shift}"] in base64.b64encode(b"x" * shift + secret + b"yyy")
    assert found["UTF-16"] == secret.decode().encode("utf-16-le")
    assert found["int, big-endian"] != found["int, little-endian"]


def test_the_fixture_finds_what_a_test_leaves(pytester_folder):
    (pytester_folder / "test_it.py").write_text(
        """
def test_clean(leak_scan):
    secret = leak_scan.marker()
    assert len(secret) == 32
    assert leak_scan(secret) == []

def test_leaky(leak_scan):
    secret = leak_scan.marker()
    kept = bytes(secret)
    assert leak_scan(secret) == []
"""
    )
    done = subprocess.run([sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
                          cwd=pytester_folder, capture_output=True, text=True, timeout=50)  # fmt: skip
    assert "1 failed, 1 passed" in done.stdout
    assert "Leak(secret=0, form='itself'" in done.stdout


@pytest.fixture
def pytester_folder(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path
