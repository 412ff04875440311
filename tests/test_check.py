"""`secalloc check` on machines that are not there: folders laid out like them."""
import errno
import resource

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
    "proc/self/coredump_filter": "00000033",
    "proc/self/cgroup": "0::/user.slice\n",
    "sys/power/state": "freeze mem",
}
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
NONE = SecretMemoryUnavailable(errno.ENOSYS, "the library's own advice")
FORBIDDEN = SecretMemoryUnavailable(errno.EPERM, "the library's own advice")


def lay_out(folder, changes):
    """A machine's files below a folder; None: that file is not there."""
    for name, text in (GOOD | changes).items():
        if text is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)


def findings(folder, changes=None, failure=None, memlock=UNLIMITED, core=(0, 0), machine="x86_64", touches=False):
    lay_out(folder, changes or {})
    limits = {resource.RLIMIT_MEMLOCK: memlock, resource.RLIMIT_CORE: core}
    rows = check.findings(folder, lambda: failure, limits.__getitem__, machine, lambda: touches)
    return {row.name: row for row in rows}


def status(**changes):
    fields = {"VmLck": "      64 kB", "CapEff": "0000000000000000", "Seccomp": "0"} | changes
    return {"proc/self/status": "".join(f"{name}:\t{value}\n" for name, value in fields.items())}


def test_a_good_machine_has_nothing_to_say(tmp_path):
    rows = findings(tmp_path)
    assert {row.state for row in rows.values()} == {"ok"}
    assert all(row.advice == "" for row in rows.values())
    assert check.usable(list(rows.values()))


def test_every_name_is_there_once_and_every_row_has_a_value(tmp_path):
    rows = check.findings(tmp_path, lambda: None, lambda _: UNLIMITED, "x86_64")
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.value for row in rows)


@pytest.mark.parametrize(
    ("changes", "name", "value", "advice"),
    [
        ({"proc/sys/vm/max_map_count": "1000"}, "vm.max_map_count", "1000", "65530"),
        ({"proc/sys/vm/max_map_count": None}, "vm.max_map_count", "unknown", "sandbox"),
        ({"proc/sys/vm/max_map_count": "many"}, "vm.max_map_count", "unknown", "sandbox"),
        (
            {"sys/power/state": "freeze mem disk", "sys/power/disk": "[platform] shutdown"},
            "hibernation", "available ([platform] shutdown)", "Heap.trim()",
        ),
        ({"sys/power/state": "disk"}, "hibernation", "available (mode unknown)", "Heap.trim()"),
        (
            {"proc/sys/kernel/core_pattern": "|/usr/lib/systemd/systemd-coredump %P"},
            "core dumps", "limit 0 bytes, to |/usr/lib/systemd/systemd-coredump %P, filter 0x33", "ordinary copy",
        ),
        ({"proc/sys/kernel/yama/ptrace_scope": "0"}, "ptrace", "every process of the same user may attach", "yama"),
        ({"proc/sys/kernel/yama/ptrace_scope": None}, "ptrace", "every process of the same user may attach", "yama"),
        (
            {"proc/swaps": "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n/swap file 9 0 -3\n"},
            "swap", "/dev/sda2, /swap", "Encrypt",
        ),
        (
            {"proc/cpuinfo": "flags : fpu pku\n"},
            "protection keys", "the processor has them, the kernel does not use them", "nopku",
        ),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_what_to_do(tmp_path, changes, name, value, advice):
    rows = findings(tmp_path, changes)
    assert (rows[name].state, rows[name].value) == ("warning", value)
    assert advice in rows[name].advice
    assert check.usable(list(rows.values()))


def test_a_core_limit_above_0_is_told(tmp_path):
    row = findings(tmp_path, {"proc/self/coredump_filter": None}, core=UNLIMITED)["core dumps"]
    assert (row.state, row.value) == ("warning", "limit unlimited, to core, filter unknown")


@pytest.mark.parametrize(
    ("changes", "failure", "machine", "advice"),
    [
        ({"proc/cmdline": "quiet secretmem.enable=0"}, NONE, "x86_64", "Remove secretmem.enable=0"),
        ({"proc/cmdline": "secretmem.enable=n quiet"}, NONE, "aarch64", "Remove secretmem.enable=0"),
        ({"proc/version": "Linux version 4.19.0-gvisor #1 SMP"}, NONE, "x86_64", "gVisor"),
        ({"proc/version": "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016"}, NONE, "x86_64", "gVisor"),
        ({"proc/sys/kernel/osrelease": "5.10.0-28-amd64"}, NONE, "x86_64", "5.14 or newer"),
        ({"proc/sys/kernel/osrelease": "6.1.0-18-amd64"}, NONE, "x86_64", "Add secretmem.enable=1"),
        (
            {"proc/sys/kernel/osrelease": "6.1.0-18", "proc/cmdline": "secretmem.enable=1"}, NONE, "aarch64",
            "rodata=full",
        ),
        ({}, NONE, "aarch64", "rodata=full"),
        ({}, NONE, "x86_64", "CONFIG_SECRETMEM"),
        ({}, FORBIDDEN, "x86_64", "seccomp"),
        ({"proc/cmdline": "secretmem.enable=0"}, FORBIDDEN, "aarch64", "seccomp"),
        ({}, SecretMemoryUnavailable(errno.EINVAL, "the library's own advice"), "x86_64", "the library's own advice"),
    ],
)  # fmt: skip
def test_missing_secret_memory_is_a_problem_with_its_own_remedy(tmp_path, changes, failure, machine, advice):
    rows = findings(tmp_path, changes, failure, machine=machine)
    assert rows["memfd_secret"].state == "problem"
    assert rows["memfd_secret"].value == f"fails with {errno.errorcode[failure.errno]}"
    assert advice in rows["memfd_secret"].advice
    assert not check.usable(list(rows.values()))


@pytest.mark.parametrize(
    ("release", "failure", "state"),
    [
        ("5.10.0-28-amd64", NONE, "problem"),
        ("4.18.0-553.el8", None, "ok"),  # a distribution's own: it works, so it is there
        ("5.14", None, "ok"),
        ("7.0-rc1+", None, "ok"),
        ("10.2.1", NONE, "ok"),
        (None, None, "ok"),
        (None, NONE, "warning"),
    ],
)
def test_the_kernel_is_at_fault_only_if_it_is_old_and_has_no_secret_memory(tmp_path, release, failure, state):
    row = findings(tmp_path, {"proc/sys/kernel/osrelease": release}, failure)["kernel"]
    assert (row.state, row.value) == (state, release or "unknown")


def test_gvisor_is_not_told_to_upgrade_the_version_it_made_up(tmp_path):
    gvisor = {"proc/version": "Linux version 4.19.0-gvisor", "proc/sys/kernel/osrelease": "4.19.0-gvisor"}
    rows = findings(tmp_path, gvisor, NONE)
    assert rows["kernel"].advice == ""
    assert "gvisor" in rows["container, seccomp"].value


@pytest.mark.parametrize(
    ("soft", "locked", "state"),
    [
        (0, "0 kB", "problem"),
        (4095, "0 kB", "problem"),
        (4096, "0 kB", "warning"),
        (1 << 20, "1024 kB", "problem"),
        (8 << 20, "64 kB", "warning"),
        (1 << 30, "64 kB", "ok"),
        (resource.RLIM_INFINITY, "64 kB", "ok"),
    ],
)
def test_the_memlock_limit_is_weighed(tmp_path, soft, locked, state):
    row = findings(tmp_path, status(VmLck=locked), memlock=(soft, UNLIMITED[1]))["RLIMIT_MEMLOCK"]
    assert row.state == state
    assert ("ulimit -l" in row.advice) == (state != "ok")


def test_the_memlock_row_tells_both_limits_and_the_use(tmp_path):
    rows = findings(tmp_path, memlock=(12 << 10, 8 << 20))
    assert rows["RLIMIT_MEMLOCK"].value == "12 KiB (hard 8 MiB), 64 KiB in use"


def test_the_memlock_limit_does_not_bind_with_cap_ipc_lock(tmp_path):
    rows = findings(tmp_path, status(CapEff=f"{1 << 14:016x}"), memlock=(0, 0))
    assert rows["RLIMIT_MEMLOCK"].state == "ok"
    assert rows["CAP_IPC_LOCK"].value == "yes"


def test_the_memlock_limit_binds_all_where_the_kernel_counts_touches(tmp_path):
    rows = findings(tmp_path, status(CapEff=f"{1 << 14:016x}"), memlock=(0, 0), touches=True)
    assert rows["RLIMIT_MEMLOCK"].state == "problem"
    assert "all processes of this user, root's too" in rows["RLIMIT_MEMLOCK"].value


def test_without_a_status_file_no_capability_is_assumed(tmp_path):
    rows = findings(tmp_path, {"proc/self/status": None}, memlock=(0, 0))
    assert rows["RLIMIT_MEMLOCK"].state == "problem"
    assert "use unknown" in rows["RLIMIT_MEMLOCK"].value
    assert rows["CAP_IPC_LOCK"].value.startswith("no")


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({}, "no container seen; seccomp: none"),
        ({".dockerenv": ""} | status(Seccomp="2"), "docker; seccomp: filter"),
        ({"run/.containerenv": "", "run/systemd/container": "podman\n"}, "podman; seccomp: none"),
        ({"proc/self/cgroup": "0::/kubepods/burstable/pod1\n"}, "kubepods; seccomp: none"),
        ({"proc/self/status": None}, "no container seen; seccomp: unknown"),
    ],
)
def test_confinement_is_told(tmp_path, changes, value):
    assert findings(tmp_path, changes)["container, seccomp"].value == value


def test_a_processor_without_protection_keys_is_no_fault(tmp_path):
    row = findings(tmp_path, {"proc/cpuinfo": "flags : fpu"})["protection keys"]
    assert row.state == "ok"
    assert "mprotect" in row.value


def test_the_advice_is_sentences():
    """On this machine, whatever it gives."""
    for row in check.findings():
        assert row.advice == "" or (row.advice[0].isupper() and row.advice.endswith("."))
