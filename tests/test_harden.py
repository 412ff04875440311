"""`secalloc.harden_process()` and `secalloc harden`: what is told as done is so, and was not so before."""
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from support.attacking import ORDINARY, must_run
from support.children import TESTS, run, succeed

import secalloc
from secalloc import harden
from secalloc.rounds import Round

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NAMES = list(harden.MEASURES)


def test_every_measure_is_told_and_in_force_here():
    told = json.loads(succeed("import json, secalloc; print(json.dumps(secalloc.harden_process()))"))
    assert [name for name, _, _ in told] == NAMES
    assert {done for _, done, _ in told} == {True}, told


@pytest.mark.parametrize("name", NAMES)
def test_what_is_skipped_is_neither_done_nor_told(name):
    code = """
        import json, resource, sys, secalloc
        from secalloc import harden
        from support import maps
        resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
        key = secalloc.SecureBytes.random(32)
        told = [measure.name for measure in secalloc.harden_process(skip=[sys.argv[1]])]
        dumpable = harden._prctl(harden.PR_GET_DUMPABLE)
        privileges = harden._status("/proc/self/status", "NoNewPrivs")
        flags = {flag for each in maps.mappings() for flag in each.flags}
        state = {
            "not dumpable": not dumpable, "no core dumps": resource.getrlimit(resource.RLIMIT_CORE) == (0, 0),
            "no ptrace": "no ptrace" in told, "no new privileges": privileges == "1", "sealed": "sl" in flags,
        }
        print(json.dumps([told, state]))
        """
    told, state = json.loads(succeed(code, name))
    assert told == [each for each in NAMES if each != name]
    assert {each for each, is_so in state.items() if not is_so} == {name}


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="no such measure: bolts; there are not dumpable"):
        secalloc.harden_process(skip=["bolts"])


# --- dumps ---


@pytest.mark.parametrize(
    ("hardened", "skip", "dumped"),
    [(False, "", True), (True, "", False), (True, "not dumpable", False), (True, "no core dumps", False)],
)
def test_a_process_that_dies_leaves_no_core_file(tmp_path, hardened, skip, dumped):
    with open("/proc/sys/kernel/core_pattern") as file:
        if not file.read().strip().startswith("core"):
            pytest.skip("the kernel writes core files elsewhere")
    code = """
        import os, resource, sys, secalloc
        resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30))
        os.chdir(sys.argv[1])
        if sys.argv[2] == "True":
            secalloc.harden_process(skip=[sys.argv[3]] if sys.argv[3] else [])
        os.abort()
        """
    assert run(code, tmp_path, hardened, skip).returncode == -signal.SIGABRT
    assert bool(list(tmp_path.iterdir())) == dumped


# --- others of the same user ---

HOLDER = """
import os, sys
import secalloc
from secalloc.holder import Held, address_of, serve
import secalloc.harden  # while the interpreter's folders can be read
def hold():
    held = Held()
    data = bytearray(os.urandom(32))
    held.add("ordinary", data, address_of(data))
    held.objects.append(data)
    if sys.argv[1] == "hardened":
        for measure in secalloc.harden_process(skip=["no new privileges"]):  # numpy has threads already
            assert measure.done, measure
    return held
serve(hold, sys.argv[2])
"""
READERS = [
    "/proc/PID/mem", "process_vm_readv", "ptrace peek", "/proc/PID/mem write", "process_vm_writev", "ptrace poke",
    "pidfd_getfd", "gcore",
]  # fmt: skip


@as_root
@pytest.mark.parametrize("attack", READERS)
def test_the_same_user_is_refused_and_was_not_before(attack):
    with Round(["-c", HOLDER, "open"], ORDINARY) as held:
        [before] = held.attack([attack])
    must_run(before.skipped)
    assert before.failed is None
    assert before.found == (["ordinary"] if attack != "pidfd_getfd" else [])
    with Round(["-c", HOLDER, "hardened"], ORDINARY) as held:
        [after] = held.attack([attack])
        held.check_in_place()
    assert after.found == []
    assert after.skipped or "ermission" in after.failed


@as_root
def test_root_still_reads_ordinary_memory():
    """As the documents say: against root it is secret pages that help, and no flag of a process."""
    with Round(["-c", HOLDER, "hardened"]) as held:
        [outcome] = held.attack(["/proc/PID/mem"])
    assert outcome.found == ["ordinary"]


def test_a_process_that_is_traced_already_says_so():
    told = json.loads(succeed("""
        import ctypes, json, os, sys, secalloc
        libc = ctypes.CDLL(None)
        child = os.fork()
        if child == 0:
            libc.ptrace(0, 0, 0, 0)  # PTRACE_TRACEME
            by_name = {name: (done, told) for name, done, told in secalloc.harden_process()}
            print(json.dumps(by_name["no ptrace"]), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        """))
    assert told[0] is False
    assert "traces this one already" in told[1]


# --- privileges ---


@as_root
@pytest.mark.parametrize("hardened", [False, True])
def test_a_set_uid_program_gives_no_rights(tmp_path, hardened):
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    program = tmp_path / "id"
    shutil.copy(shutil.which("id"), program)
    program.chmod(0o4755)
    code = """
        import subprocess, sys, secalloc
        from secalloc.attacks import become
        import secalloc.harden
        become(65534)
        if sys.argv[2] == "True":
            secalloc.harden_process()
        print(subprocess.run([sys.argv[1], "-u"], capture_output=True, text=True, check=True).stdout)
        """
    assert succeed(code, program, hardened).split() == ["65534" if hardened else "0"]


def test_threads_that_were_started_before_are_told():
    told = json.loads(succeed("""
        import json, threading, secalloc
        go = threading.Event()
        thread = threading.Thread(target=go.wait)
        thread.start()
        by_name = {name: (done, told) for name, done, told in secalloc.harden_process()}
        go.set()
        thread.join()
        print(json.dumps(by_name["no new privileges"]))
        """))
    assert told[0] is False
    assert "1 of 2 were started before" in told[1]


# --- the seal ---

SEALED = """
import ctypes, errno
from support import maps
import secalloc
libc = ctypes.CDLL(None, use_errno=True)
def refuses_to_change(mapping):
    "Whether mprotect(2) of a mapping to what it is already is refused."
    access = 3 if mapping.access.startswith("rw") else 0
    done = libc.mprotect(ctypes.c_void_p(mapping.start), ctypes.c_size_t(mapping.end - mapping.start), access)
    return done != 0 and ctypes.get_errno() == errno.EPERM
def sealed():
    return [mapping for mapping in maps.mappings() if "sl" in mapping.flags]
"""


def test_the_records_cannot_be_changed_and_the_heap_goes_on():
    succeed(SEALED + """
import os
keys = [secalloc.SecureBytes.random(32) for _ in range(100)]
assert sealed() == []
secalloc.harden_process()
before = sealed()
assert before and all(map(refuses_to_change, before))
assert any(mapping.access.startswith("rw") for mapping in before) and any(mapping.is_closed for mapping in before)
heap = secalloc.Heap("more")
more = [secalloc.SecureBytes(size, heap=heap) for size in (20, 3000, 70_000) * 3000]
after = sealed()
assert sum(m.end - m.start for m in after) > sum(m.end - m.start for m in before)  # the records grew
assert all(map(refuses_to_change, after))
assert heap.is_valid()
del more
heap.trim()
child = os.fork()
if child == 0:
    assert len(secalloc.SecureBytes.random(64)) == 64
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""")


def test_a_seal_before_the_first_secret_holds_for_what_comes():
    succeed(SEALED + """
secalloc.harden_process()
assert sealed() == []
key = secalloc.SecureBytes.random(32)
assert sealed() and all(map(refuses_to_change, sealed()))
""")


def test_a_kernel_without_mseal_is_told():
    told = json.loads(succeed("""
        import errno, json
        from support import hostile
        hostile.refuse(462, errno.ENOSYS)
        import secalloc
        print(json.dumps(secalloc.harden_process()[-1]))
        """))
    assert told == ["sealed", False, "mseal(2) needs Linux 6.10 or newer"]


# --- the command ---


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-P", "-m", "secalloc", "harden", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(TESTS)},
    )  # fmt: skip


def test_the_command_tells_every_measure():
    done = command("--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [measure["name"] for measure in json.loads(done.stdout)] == NAMES
    table = command()
    assert all(name in table.stdout for name in NAMES)


def test_the_command_runs_a_program_in_the_hardened_process(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import resource, sys\n"
        "print(__name__, sys.argv[1:], resource.getrlimit(resource.RLIMIT_CORE))\n"
        "raise SystemExit(7)\n"
    )
    done = command(program, "one", "--two")
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout == "__main__ ['one', '--two'] (0, 0)\n"
    assert command("-c", "print(1)").stdout == "1\n"


def test_a_program_is_not_run_in_a_process_that_could_not_be_closed():
    code = "import sys; from secalloc import cli, harden\n"
    code += "def no(): raise harden.NotDone('not here')\n"
    code += "harden.MEASURES['sealed'] = no\ncli.main(['harden', '-c', 'print(1)'])"
    done = run(code)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "secalloc harden: sealed: not here\n"


@pytest.mark.parametrize("arguments", [["--skip", "bolts"], ["-c"], ["-x"]])
def test_a_wrong_command_is_refused(arguments):
    assert command(*arguments).returncode == 2
