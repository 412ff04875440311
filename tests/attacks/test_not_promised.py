"""What secalloc does not keep from anybody, shown so that nobody takes it for kept: code that runs in the process.

A debugger that is let in injects some; an extension module is some.
"""
import ctypes
import shutil
import subprocess

import pytest
from support.attacking import VICTIM

from secalloc import SecureBytes
from secalloc.holder import address_of
from secalloc.rounds import Round


@pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")
def test_a_debugger_that_calls_a_function_of_the_process_reads_the_secret(tmp_path):
    """Peeking does not help it: see `test_ptrace_peek.py`. The process itself writes what it is told to."""
    taken = tmp_path / "taken"
    with Round([VICTIM, "small object", "", "secretmem"]) as held:
        held.check_in_place()
        [needle] = [needle for needle in held.target.needles if needle.name == "secret start"]
        call = f'print (long)write((int)creat("{taken}", 0600), (void *){needle.address}, (unsigned long){needle.size})'
        subprocess.run(
            ["gdb", "-q", "-nx", "-batch", "-p", str(held.target.pid), "-ex", call],
            stdin=subprocess.DEVNULL, capture_output=True, check=True,
        )  # fmt: skip
    assert needle.is_at(taken.read_bytes())


def test_an_extension_module_reads_the_secret_by_its_address():
    key = SecureBytes.random(32)
    assert ctypes.string_at(address_of(key), 32) == bytes(key)
