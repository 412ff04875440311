"""`secalloc check` on machines that are not there: folders laid out like them."""
import errno
import resource
from pathlib import Path

import pytest

from secalloc import SecretMemoryUnavailable, check

GOOD = {
    "proc/sys/kernel/osrelease": "6.18.1-generic",
    "proc/cmdline": "quiet",
    "proc/version": "Linux version 6.18.1",
    "proc/self/status": "VmLck:\t      64 kB\nCapEff:\t0000000000000000\nSeccomp:\t0\n",
    "proc/cpuinfo": "flags : fpu pku ospke\n",
    "proc/sys/vm/max_map_count": "1048576",
    "proc/sys/kernel/core_pattern": "core",
    "proc/sys/kernel/yama/ptrace_scope": "1",
    "proc/swaps": "Filename Type Size Used Priority\n",
    "sys/power/state": "freeze mem",
}
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def findings(tmp_path: Path, changes=None, failure=None, memlock=UNLIMITED, core=(0, 0)) -> dict[str, check.Finding]:
    for name, text in (GOOD | (changes or {})).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    limits = {resource.RLIMIT_MEMLOCK: memlock, resource.RLIMIT_CORE: core}
    return {row.name: row for row in check.findings(tmp_path, lambda: failure, limits.__getitem__)}


def test_a_good_machine_has_nothing_to_say(tmp_path) -> None:
    rows = findings(tmp_path)
    assert {row.state for row in rows.values()} == {"ok"}
    assert all(row.advice == "" for row in rows.values())
    assert check.usable(list(rows.values()))


@pytest.mark.parametrize(
    ("changes", "name", "advice"),
    [
        ({"proc/sys/kernel/osrelease": "5.10.0-28-amd64"}, "kernel", "5.14"),
        ({"proc/sys/vm/max_map_count": "1000"}, "vm.max_map_count", "65530"),
        ({"sys/power/state": "freeze mem disk"}, "hibernation", "Heap.trim()"),
        ({"proc/sys/kernel/core_pattern": "|/usr/lib/systemd/systemd-coredump %P"}, "core dumps", "never dumped"),
        ({"proc/sys/kernel/yama/ptrace_scope": "0"}, "ptrace", "ptrace_scope"),
    ],
)
def test_a_fault_is_told_with_what_to_do(tmp_path, changes, name, advice) -> None:
    row = findings(tmp_path, changes)[name]
    assert row.state != "ok"
    assert advice in row.advice


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"proc/cmdline": "quiet secretmem.enable=0"}, "remove secretmem.enable=0"),
        ({"proc/version": "Linux version 4.4.0 (gVisor)"}, "gVisor"),
        ({}, "the remedy"),
    ],
)
def test_missing_secret_memory_is_a_problem_with_its_own_remedy(tmp_path, changes, advice) -> None:
    rows = findings(tmp_path, changes, SecretMemoryUnavailable(errno.ENOSYS, "the remedy"))
    assert rows["memfd_secret"].state == "problem"
    assert advice in rows["memfd_secret"].advice
    assert not check.usable(list(rows.values()))


@pytest.mark.parametrize(
    ("soft", "state"), [(0, "problem"), (8 << 20, "warning"), (1 << 30, "ok"), (resource.RLIM_INFINITY, "ok")]
)
def test_the_memlock_limit_is_weighed(tmp_path, soft, state) -> None:
    row = findings(tmp_path, memlock=(soft, UNLIMITED[1]))["RLIMIT_MEMLOCK"]
    assert row.state == state
    assert "64 KiB in use" in row.value
    assert ("ulimit -l" in row.advice) == (state != "ok")


def test_the_memlock_limit_does_not_bind_with_cap_ipc_lock(tmp_path) -> None:
    status = GOOD["proc/self/status"].replace("0000000000000000", f"{1 << 14:016x}")
    rows = findings(tmp_path, {"proc/self/status": status}, memlock=(0, 0))
    assert rows["RLIMIT_MEMLOCK"].state == "ok"
    assert rows["CAP_IPC_LOCK"].value == "yes"


def test_confinement_is_told(tmp_path) -> None:
    (tmp_path / ".dockerenv").touch()
    status = GOOD["proc/self/status"].replace("Seccomp:\t0", "Seccomp:\t2")
    row = findings(tmp_path, {"proc/self/status": status})["container, seccomp"]
    assert row.value == "docker, a seccomp filter is on"


def test_protection_keys_and_swap_are_told(tmp_path) -> None:
    rows = findings(tmp_path, {"proc/cpuinfo": "flags : fpu", "proc/swaps": "Filename\n/dev/sda2 partition 1 0 -2\n"})
    assert "mprotect" in rows["protection keys"].value
    assert rows["swap"].value == "1 devices; secret pages are never swapped"
