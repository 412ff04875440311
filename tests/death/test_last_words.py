"""How a process ends: `fatal_error` writes one fixed phrase, once, and aborts, wherever and however it is called."""
import re
import resource
import signal
import socket
from pathlib import Path

import pytest
from support import scenarios
from support.attacking import must_run
from support.children import die, run, succeed
from support.scenarios import NOT_OURS, OVERFLOW, PRELUDE, Scenario, each_of

MISUSE = "free(16)"
LAST_WORDS = f"secalloc: {NOT_OURS}\n"
HANDLE = ("libc = ctypes.CDLL(None); libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]; "
          "libc.signal({}, address('{}'))")  # fmt: skip

# The signal's number is the argument of a handler: secalloc_free frees it. No Python runs in between.
HANDLED = [
    Scenario("in a signal handler", HANDLE.format("signal.SIGUSR1", "free"), "os.kill(os.getpid(), signal.SIGUSR1)",
             NOT_OURS),
    Scenario("in a signal handler that interrupts allocations and frees",
             HANDLE.format("signal.SIGALRM", "free") + "\nfor size in (32, 100_000) * 9: free(malloc(size))",
             "signal.setitimer(signal.ITIMER_REAL, 0.01)\nwhile True: free(malloc(100_000)); free(malloc(32))",
             NOT_OURS),
    Scenario("in a signal handler of the heap's first user", HANDLE.format("signal.SIGUSR1", "usable_size"),
             "os.kill(os.getpid(), signal.SIGUSR1)", NOT_OURS),
]  # fmt: skip
RESISTED = [
    Scenario("while SIGABRT is ignored", "signal.signal(signal.SIGABRT, signal.SIG_IGN)", MISUSE, NOT_OURS),
    Scenario("while SIGABRT is blocked", "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGABRT])", MISUSE,
             NOT_OURS),
    Scenario("while all signals are blocked", "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
             MISUSE, NOT_OURS),
    Scenario("while Python handles SIGABRT", "signal.signal(signal.SIGABRT, lambda *_: None)", MISUSE, NOT_OURS),
    Scenario("while C handles SIGABRT, and returns", HANDLE.format("signal.SIGABRT", "owns"), MISUSE, NOT_OURS),
    Scenario("while SIGABRT wipes all heaps", "key = SecureBytes(b'x' * 99); secalloc.wipe_on_signal(signal.SIGABRT)",
             MISUSE, NOT_OURS),
    Scenario("while a lock is held", "secalloc.wipe_on_signal(signal.SIGABRT); p = malloc(100_000); free(p)",
             "free(p)", "double free"),
    Scenario("in a thread", "", "t = threading.Thread(target=free, args=[16]); t.start(); t.join()", NOT_OURS),
    Scenario("behind what Python catches", "", "try: free(16)\nfinally: print('not the end')", NOT_OURS),
    Scenario("without exit handlers", "import atexit; atexit.register(print, 'not the end')", MISUSE, NOT_OURS),
]  # fmt: skip


@each_of(HANDLED + RESISTED)
def test_it_ends_the_process(scenario):
    scenario.ends(before="import signal")


@pytest.mark.parametrize("setup", [scenario.setup for scenario in RESISTED], ids=[s.name for s in RESISTED])
def test_none_of_it_ends_the_process_by_itself(setup):
    succeed(f"{PRELUDE}\nimport signal\n{setup}")


def test_a_signal_handler_that_only_asks_ends_no_process():
    """The positive control: it is what the handler does with its argument, the signal's number."""
    handle = HANDLE.format("signal.SIGUSR1", "owns")
    succeed(f"{PRELUDE}\nimport signal\n{handle}\nos.kill(os.getpid(), signal.SIGUSR1)")


@pytest.mark.parametrize("spoiled", ["os.close(2)", "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)"])
def test_a_process_that_cannot_speak_ends_all_the_same(spoiled):
    die(f"{PRELUDE}\n{spoiled}\nprint('ready', flush=True)\n{MISUSE}", by=signal.SIGABRT)


def test_the_last_words_are_one_write():
    """So that those of two threads, or processes, never mix. A datagram is what one write(2) wrote."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        program = f"{PRELUDE}\nimport sys\nos.dup2(int(sys.argv[1]), 2)\n{MISUSE}"
        done = run(program, theirs.fileno(), pass_fds=[theirs.fileno()])
        assert done.returncode == -signal.SIGABRT
        ours.setblocking(False)
        assert ours.recv(4096) == LAST_WORDS.encode()
        with pytest.raises(BlockingIOError):
            ours.recv(4096)


@pytest.mark.parametrize("size", [32, 100_000])
def test_neither_the_words_nor_the_core_dump_hold_the_secret(size, tmp_path):
    """The secret never was in ordinary memory, and goes to standard output byte by byte, coded."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard == 0 or not pattern or pattern.startswith(("|", "/", "@")) or "%" in pattern.replace("%p", ""):
        must_run(f"core_pattern is {pattern!r}, the hard limit RLIMIT_CORE {hard}: no dump in the working folder")
    done = run(
        f"""{PRELUDE}
import sys
from pathlib import Path
Path("/proc/self/coredump_filter").write_text("0xff")
resource.setrlimit(resource.RLIMIT_CORE, ({hard}, {hard}))
os.chdir(sys.argv[1])
key = SecureBytes.random({size})
ordinary = os.urandom(32)
for buffer in (key, ordinary):
    print(*(byte ^ 0x55 for byte in buffer[:32]), flush=True)
write(address_of(key) + {size}, b"x")
import gc; gc.collect()
del key
""",
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGABRT, f"secalloc: {OVERFLOW}\n")
    secret, ordinary = (bytes(int(word) ^ 0x55 for word in line.split()) for line in done.stdout.splitlines())
    [core] = tmp_path.iterdir()
    content = core.read_bytes()
    assert ordinary in content  # the positive control: the dump has what is not ours
    assert secret not in content
    assert secret[:16] not in content
    assert secret[16:] not in content


# --- the phrases ---

CORE = Path(__file__).parents[2] / "secalloc_ext"
# What no caller can bring about: broken metadata, and a kernel that refuses what it must grant.
BEYOND_CALLERS = {
    "damaged metadata", "a frame record is not two cache lines", "lock cannot be taken", "lock is not held",
    "protection cannot be changed", "pages cannot be released", "no random bytes", "copied pages cannot be moved",
    "inherited pages cannot be closed",
}  # fmt: skip


def test_each_phrase_of_the_core_is_the_end_of_some_scenario():
    sources = "".join(path.read_text() for path in [*CORE.glob("*.h"), *CORE.glob("*.pxd"), *CORE.glob("*.pyx")])
    phrases = set(re.findall(r'"([^"]+)"', "".join(re.findall(r"fatal_error\((.*)\)", sources))))
    assert phrases == BEYOND_CALLERS | set(scenarios.PHRASES)
    tables = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    names = [name for name, value in vars(scenarios).items() if value in scenarios.PHRASES]
    assert [name for name in names if not re.search(rf", {name}\b", tables)] == []
    assert len(names) == len(scenarios.PHRASES)
