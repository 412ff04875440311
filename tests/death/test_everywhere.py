"""The commonest misuses end the process in every configuration, and in every kind of process and thread."""
import pytest
from support.scenarios import (
    FAULT,
    FREED,
    INTERIOR,
    LATE_WRITE,
    NOT_OURS,
    OVERFLOW,
    UNDERFLOW,
    Scenario,
    controls_end_no_process,
    for_both_sizes,
)

LIVE = "p = malloc(SIZE)"
HAND_OUT = "again = [malloc(32) for _ in range(20_000)]; [free(each) for each in again]"
SCENARIOS = [
    *for_both_sizes("free twice", LIVE + "; free(p)", "free(p)", FREED),
    *for_both_sizes("free of an interior pointer", LIVE, "free(p + 16)", INTERIOR, "free(p)"),
    *for_both_sizes("free of a foreign pointer", LIVE, "free(id(heap))", NOT_OURS, "free(p)"),
    *for_both_sizes("overflow by one byte", LIVE, "write(p + SIZE, b'x'); free(p)", OVERFLOW,
                    "write(p, b'x' * SIZE); free(p)"),
    *for_both_sizes("write behind the last page", LIVE + "; page = maps.mapping_at(p)", "write(page.end, b'x')", FAULT),
    Scenario("small object written after free",
             "many = [malloc(32) for _ in range(2_000)]; [free(each) for each in many]; p = many[1_000]",
             "write(p, b'x'); " + HAND_OUT, LATE_WRITE, HAND_OUT),
    Scenario("large object read after free", "p = malloc(100_000); free(p)", "read(p, 1)", FAULT),
    Scenario("read behind a guarded object", "p = guarded_alloc(32)", "read(p + 32, 1)", FAULT, "free(p)"),
    Scenario("underflow of a guarded object", "p = guarded_alloc(32)", "spoil(p - 1); free(p)", UNDERFLOW, "free(p)"),
    Scenario("read of what is noaccess", "p = guarded_alloc(32); protect(p, NOACCESS)", "read(p, 1)", FAULT,
             "free(p)"),
]  # fmt: skip
NAMES = [scenario.name for scenario in SCENARIOS]

CONFIGURATIONS = {
    "hardening full": "hardening='full'",
    "backend mlock": "backend='mlock'",
    "backend mlock, hardening full": "backend='mlock', hardening='full'",
    "cache lines flushed": "flush_on_wipe=True",
    "no quarantine": "quarantine_large=0, gap_frames=0",
    "copied at a fork": "on_fork='copy'",
    "a small reservation": "reservation='1 GiB'",
}

# The parent lives on whole, then ends as its child did.
FORK = """
import signal
if on_fork: secalloc.configure(on_fork=on_fork)
before = [malloc(32), malloc(100_000)]
pid = os.fork()
if pid:
    status = os.waitpid(pid, 0)[1]
    assert heap.is_valid() and heap.stats().live == 2
    [free(p) for p in before]
    print("ready", flush=True)
    os.kill(os.getpid(), os.WTERMSIG(status)) if os.WIFSIGNALED(status) else os._exit(os.WEXITSTATUS(status))
os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
"""


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_it_ends_the_process_in_every_configuration(scenario, configuration):
    scenario.ends(before=f"secalloc.configure({CONFIGURATIONS[configuration]})")


@pytest.mark.parametrize("variable", [{"SECALLOC_HARDENING": "full"}, {"SECALLOC_BACKEND": "mlock"}], ids=str)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_it_ends_the_process_as_the_environment_chose(scenario, variable):
    scenario.ends(environment=variable)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_it_ends_the_process_from_another_thread(scenario):
    in_thread = f"t = threading.Thread(target=exec, args=[{scenario.misuse!r}, globals()]); t.start(); t.join()"
    scenario._replace(misuse=in_thread).ends()


@pytest.mark.parametrize("on_fork", ["isolate", "copy"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_it_ends_a_forked_child_and_not_its_parent(scenario, on_fork):
    scenario.ends(before=f"on_fork = {on_fork!r}\n{FORK}")


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_correct_use_ends_no_process(configuration):
    controls_end_no_process(SCENARIOS, before=f"secalloc.configure({CONFIGURATIONS[configuration]})")


def test_correct_use_ends_no_forked_child():
    controls_end_no_process(SCENARIOS, before=f"on_fork = 'copy'\n{FORK}")
