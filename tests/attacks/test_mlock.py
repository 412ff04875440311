"""The backend `mlock` is what it says and no more: whoever may read the process's memory reads it; no dump has it.

That the first is found here shows that it is memfd_secret, and nothing about these objects, that hides the others.
"""
import pytest
from support.attacking import samples


@pytest.mark.parametrize(
    "attack", ["/proc/PID/mem", "process_vm_readv", "ptrace peek", "vmsplice", "O_DIRECT", "io_uring"]
)
def test_who_reads_the_memory_finds_it(holders, attack, kind):
    assert samples("ordinary") | samples("secret") <= holders.found_by(attack, kind, backend="mlock")


@pytest.mark.parametrize("attack", ["gcore", "kernel core dump"])
def test_no_dump_has_it(holders, attack, kind):
    found = holders.found_by(attack, kind, backend="mlock")
    assert samples("ordinary") <= found
    assert not samples("secret") & found


@pytest.mark.parametrize("attack", ["pidfd_getfd", "/proc/PID/fd", "/proc/PID/map_files", "exec"])
def test_no_descriptor_or_mapped_file_leads_to_it(holders, attack, kind):
    found = holders.found_by(attack, kind, backend="mlock")
    assert samples("shared") <= found
    assert not samples("secret") & found


@pytest.mark.parametrize("attack", ["/proc/PID/mem write", "process_vm_writev", "ptrace poke"])
def test_who_writes_to_the_memory_reaches_it(holders, attack, kind):
    assert samples("ordinary") | samples("secret") <= holders.found_by(attack, kind, backend="mlock")
