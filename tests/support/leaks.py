"""What a program leaves in memory, looked for from outside: `secalloc.scan` over the process while it waits."""
import os
import subprocess
import sys
import textwrap

from secalloc.scan import hits
from support.children import SECONDS_MAX, TESTS

# `secrets`: secret also where the tests run under the mlock backend, whose pages root can read.
PRELUDE = """
import os, sys
import numpy as np, secalloc, secalloc.numpy as snp
from secalloc import Heap, SecureBytes
secrets = Heap("secrets", backend="secretmem")
"""
WAIT = """
print("ready", flush=True)
sys.stdin.read()
"""


def places(code, needles, *arguments):
    """Run a program; where is each needle, bytes that it cannot know by themselves, when it has come to its end?

    Answers a list of areas by the needle's name. `needles` may be a function, called when the program waits.
    Libraries' functions are bound at the start: later, the first call of one saves all registers on the stack.
    """
    program = PRELUDE + textwrap.dedent(code) + WAIT
    with subprocess.Popen(
        [sys.executable, "-P", "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/",
        env=os.environ | {"PYTHONPATH": str(TESTS), "LD_BIND_NOW": "1"},
    ) as child:  # fmt: skip
        told = child.stdout.readline()
        try:
            assert told == b"ready\n"
            wanted = needles() if callable(needles) else needles
            found = hits(child.pid, wanted)
        finally:
            child.communicate(timeout=SECONDS_MAX)
        assert child.returncode == 0
    result = {name: [] for name in wanted}
    for hit in found:
        result[hit.needle].append(hit.area or hex(hit.address))
    return result
