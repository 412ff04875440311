"""The backend `mlock` is what it says and no more: whoever may read the process's memory reads it; no dump has it.

That the first is found here shows that it is memfd_secret, and nothing about these objects, that hides the others.
"""
import pytest
from support.attacking import found_by, samples


@pytest.mark.parametrize("attack", ["/proc/PID/mem", "process_vm_readv", "ptrace"])
def test_who_reads_the_memory_finds_it(attack, kind):
    assert samples("ordinary") | samples("secret") <= found_by(attack, kind, backend="mlock")


@pytest.mark.parametrize("attack", ["gcore", "kernel core dump"])
def test_no_dump_has_it(attack, kind):
    found = found_by(attack, kind, backend="mlock")
    assert samples("ordinary") <= found
    assert not samples("secret") & found


@pytest.mark.parametrize("attack", ["pidfd_getfd", "/proc/PID/map_files"])
def test_no_descriptor_or_mapped_file_leads_to_it(attack, kind):
    found = found_by(attack, kind, backend="mlock")
    assert samples("shared") <= found
    assert not samples("secret") & found
