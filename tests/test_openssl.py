"""OpenSSL's memory on a secret heap: when that can be had, what it says of itself, programs started that way, forks."""
import json
import os
import subprocess
import sys
import textwrap

import pytest
from support.children import TESTS, run, succeed

COMMAND = [sys.executable, "-m", "secalloc.openssl"]


def start(*arguments, **variables):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=50, cwd="/",
                          env=os.environ | {"PYTHONPATH": str(TESTS)} | variables)  # fmt: skip


def test_all_that_hashlib_and_ssl_allocate_is_on_the_secret_heap():
    succeed(
        """
        from secalloc import openssl
        before = openssl.status()
        assert not before.routed and before.heap is None and len(before.libraries) == 2
        after = openssl.install()
        assert after.routed and all(each.routed for each in after.libraries)
        import hashlib, ssl
        assert after.libraries[0].version == ssl.OPENSSL_VERSION
        live = openssl.status().heap.live
        kept = [hashlib.sha256(b"x") for _ in range(1000)]
        assert openssl.status().heap.live >= live + 1000
        del kept
        assert openssl.status().heap.live < live + 1000
        assert hashlib.sha256(b"").hexdigest().startswith("e3b0c442")
        contexts = [ssl.create_default_context() for _ in range(5)]
        """
    )


def test_who_asks_again_changes_nothing():
    succeed(
        """
        from secalloc import openssl
        first = openssl.install(limit="64 MiB")
        assert openssl.install() == openssl.install(limit="1 MiB") == openssl.status() == first
        assert first.heap.limit == 64 << 20
        """
    )


@pytest.mark.parametrize(
    ("imports", "named"), [("import hashlib", "_hashlib"), ("import ssl", "_ssl"), ("import hashlib, ssl", "_hashlib")]
)
def test_who_comes_too_late_is_told_who_was_first(imports, named):
    succeed(
        f"""
        {imports}
        hashlib = __import__("hashlib")
        hashlib.new("sha256")
        from secalloc import TooLateError, openssl
        try:
            openssl.install()
        except TooLateError as error:
            assert "for {named}:" in str(error), error
        else:
            raise SystemExit("it was not too late")
        assert not openssl.status().routed and openssl.status().heap.live == 0
        import ssl
        ssl.create_default_context()
        """
    )


def test_secalloc_itself_needs_no_openssl():
    succeed(
        """
        import sys
        import secalloc, secalloc.openssl, secalloc.starting
        assert not {"_ssl", "_hashlib"} & set(sys.modules)
        """
    )


def test_without_secret_memory_nothing_is_done():
    succeed(
        """
        from support import hostile
        from secalloc import SecretMemoryUnavailable, openssl
        hostile.refuse_memfd_secret(38)
        for _ in range(2):
            try:
                openssl.install()
                raise SystemExit("it was installed")
            except SecretMemoryUnavailable:
                assert not openssl.status().routed
        import hashlib
        hashlib.sha256(b"")
        """
    )


def test_memory_that_is_used_up_is_an_error_and_never_ordinary_memory():
    succeed(
        """
        import gc
        from secalloc import openssl
        openssl.install(limit="4 MiB")
        import ssl, hashlib
        kept = []
        try:
            while len(kept) < 1000:
                kept.append(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            raise SystemExit("there was no limit")
        except (MemoryError, ssl.SSLError):
            pass
        assert openssl.status().heap.committed <= 4 << 20
        del kept
        gc.collect()
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """
    )


def test_threads_and_the_end_of_the_process_do_no_harm():
    """OpenSSL frees at a thread's end and at exit, when our own records of the thread are gone."""
    succeed(
        """
        import threading
        from secalloc import openssl
        openssl.install()
        import hashlib, ssl
        def work():
            for size in (10, 10_000, 1_000_000):
                hashlib.sha256(bytes(size))
            ssl.RAND_bytes(100)
            ssl.create_default_context()
        for _ in range(3):
            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        """
    )


@pytest.mark.parametrize("before", [True, False])
def test_a_wipe_at_exit_does_no_harm(before):
    succeed(
        f"""
        import secalloc
        from secalloc import openssl
        if {before}:
            secalloc.wipe_on_signal(15)
        openssl.install()
        import hashlib, ssl
        kept = ssl.create_default_context(), hashlib.sha256(b"x")
        if not {before}:
            secalloc.wipe_on_signal(15)
        """
    )


@pytest.mark.parametrize("how", ["program", "-m", "-c"])
def test_a_program_is_started_as_python_would(tmp_path, how):
    code = textwrap.dedent(
        """
        import sys, json
        assert __name__ == "__main__"
        import ssl
        from secalloc import openssl
        print(json.dumps([openssl.status().routed, sys.argv, sys.path[0]]))
        sys.exit(3)
        """
    )
    (tmp_path / "told.py").write_text(code)
    given = {"program": [tmp_path / "told.py"], "-m": ["-m", "told"], "-c": ["-c", code]}[how]
    done = start(*given, "a", "--b", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (3, "")
    routed, argv, first = json.loads(done.stdout)
    name = str(tmp_path / "told.py")
    assert routed
    assert argv == [{"program": name, "-m": name, "-c": "-c"}[how], "a", "--b"]
    assert first == {"program": str(tmp_path), "-m": "/", "-c": ""}[how]


@pytest.mark.parametrize("arguments", [[], ["-m"], ["-c"], ["--what"], ["--status", "x"], ["--cryptography"]])
def test_wrong_use_is_told(arguments):
    done = start(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage:")


def test_the_status_is_told():
    done = start("--status")
    assert done.returncode == 0
    assert done.stdout.count("not routed") == 2
    assert "_ssl: OpenSSL " in done.stdout


def test_a_program_that_cannot_be_covered_is_not_started():
    done = start("-c", "print('it runs')", SECALLOC_BACKEND="nonsense")
    assert done.returncode != 0
    assert done.stdout == ""


@pytest.fixture
def hooked(tmp_path):
    """An environment of Python with the hook, and what is installed here; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, timeout=100)
    python = tmp_path / "venv" / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout.strip()
    here = subprocess.run([sys.executable, "-c", where], check=True, capture_output=True, text=True).stdout.strip()
    with open(f"{folder}/here.pth", "w") as file:
        file.write(f"{here}\n")
    done = start("--write-hook", folder)
    assert done.returncode == 0
    assert f"{folder}/secalloc_openssl.pth" in done.stdout
    return python, folder


PROGRAM = "import ssl; from secalloc import openssl; print(openssl.status().routed)"


def hooked_run(python, **variables):
    return subprocess.run([python, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, timeout=50,
                          cwd="/", env=os.environ | variables)  # fmt: skip


def test_the_hook_does_nothing_unless_the_environment_asks_for_it(hooked):
    python, folder = hooked
    first = hooked_run(python)
    assert (first.stdout, first.stderr) == ("False\n", "")
    assert hooked_run(python, SECALLOC_OPENSSL="0").stdout == "False\n"
    asked = hooked_run(python, SECALLOC_OPENSSL="1")
    assert (asked.stdout, asked.stderr) == ("True\n", "")
    assert start("--remove-hook", folder).returncode == 0
    assert hooked_run(python, SECALLOC_OPENSSL="1").stdout == "False\n"
    assert not os.path.exists(f"{folder}/secalloc_openssl.pth")


def test_a_hook_that_fails_ends_the_process(hooked):
    """Python itself prints what a .pth file raises, and goes on."""
    python, _ = hooked
    done = hooked_run(python, SECALLOC_OPENSSL="1", SECALLOC_BACKEND="nonsense")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("SECALLOC_OPENSSL=1: ")


def test_an_installation_has_no_hook():
    """It is written by a command only: nobody's Python changes by `pip install`."""
    from importlib.metadata import files

    assert not [file for file in files("secalloc") or () if file.suffix == ".pth"]


def test_a_fork_that_copies_keys_is_warned_of():
    done = run(
        """
        import os, warnings
        from secalloc import SecretMemoryWarning, openssl
        openssl.install(fork_warning=True)
        openssl.install(fork_warning=True)
        import ssl
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if os.fork() == 0:
                os._exit(0)
            os.wait()
            import subprocess
            subprocess.run(["true"], check=True)
        told = [each for each in caught if each.category is SecretMemoryWarning]
        assert len(told) == 1 and "copies" in str(told[0].message), caught
        """
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_child_makes_digests_and_handshakes_and_so_does_its_child():
    succeed(
        """
        import os
        from secalloc import openssl
        openssl.install()
        import hashlib, ssl
        context = ssl.create_default_context()
        def fork(depth):
            pid = os.fork()
            if pid == 0:
                hashlib.sha256(b"x").digest()
                ssl.RAND_bytes(16)
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                assert openssl.status().routed
                if depth:
                    fork(depth - 1)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        for _ in range(5):
            fork(2)
        hashlib.sha256(b"x").digest()
        assert openssl.status().heap.live > 0
        """
    )
