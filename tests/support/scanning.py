"""A fresh process that gets a marker in some way, and what a scan of all its readable memory finds of it.

The process knows the marker in a code only, for it to tell whether it has got it. The scan is an attack of
`secalloc.attacks`, by this process.
"""
import os
import pty
import subprocess
import sys
import textwrap
from contextlib import ExitStack

from secalloc.attacks import Target, attack
from secalloc.holder import needle_of
from support.attacking import must_run
from support.children import TESTS

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@_"
MARKER_BYTES = 33  # no padding in base64
PRELUDE = """
import json, os, sys
told, go, pads, codes = json.loads(sys.argv[1])
def holds(name, data):
    view = memoryview(data.encode() if isinstance(data, str) else data)
    pad, code = bytes.fromhex(pads[name]), bytes.fromhex(codes[name])
    return len(view) == len(pad) and all(view[i] ^ pad[i] == code[i] for i in range(len(pad)))
def ready():
    os.write(told, b"ready")
    os.read(go, 1)
"""


def marker():
    return bytes(ALPHABET[byte & 63] for byte in os.urandom(MARKER_BYTES))


class Feed:
    """The ways from here into the process. Each answers what the program is told, as text."""

    def __init__(self, stack, folder):
        self.stack = stack
        self.folder = folder
        # Where the secret shall be, it is not to be found: on pages that the scan cannot read.
        self.environment = os.environ | {"PYTHONPATH": str(TESTS), "SECALLOC_BACKEND": "secretmem"}
        self.stdin = subprocess.DEVNULL
        self.passed = []
        self.typed = None

    def file(self, content, name="secret"):
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)

    def pipe(self, content):
        reader, writer = os.pipe()
        os.write(writer, content)
        os.close(writer)
        self.passed.append(reader)
        return str(reader)

    def standard_input(self, content):
        self.stdin = int(self.pipe(content))
        return ""

    def variable(self, name, content):
        self.environment[name] = content.decode()
        return name

    def terminal(self, content):
        """Of a terminal, which the program is to open. What is typed comes when something was asked."""
        controller, terminal = pty.openpty()
        self.stack.callback(os.close, controller)
        self.stack.callback(os.close, terminal)
        self.typed = controller, content
        return os.ttyname(terminal)

    def socket(self, content):
        import socket

        ours, theirs = socket.socketpair()
        self.stack.callback(theirs.close)
        with ours:
            ours.sendall(content)
        self.passed.append(theirs.fileno())
        return str(theirs.fileno())


def found_in(code, feed, needles, folder):
    """The names of the needles found in the memory of a process that ran `code` with `feed(Feed)` as its argument.
    `needles`: bytes by name. `code` calls `ready()` when it has what it shall have."""
    import json

    coded = {name: needle_of(name, content, 0) for name, content in needles.items()}
    with ExitStack() as stack:
        ready, told = os.pipe()
        waits, go = os.pipe()
        for fd in (ready, go):
            stack.callback(os.close, fd)
        feeding = Feed(stack, folder)
        argument = feed(feeding)
        order = [told, waits, {n: c.pad for n, c in coded.items()}, {n: c.coded for n, c in coded.items()}]
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", PRELUDE + textwrap.dedent(code), json.dumps(order), argument],
            env=feeding.environment, cwd="/", stdin=feeding.stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            pass_fds=[told, waits, *feeding.passed], start_new_session=True,
        )  # fmt: skip
        stack.callback(child.communicate)
        stack.callback(child.kill)
        for fd in (told, waits):
            os.close(fd)
        if feeding.typed:
            controller, content = feeding.typed
            os.read(controller, 100)  # the prompt
            os.write(controller, content + b"\r")
        if os.read(ready, 5) != b"ready":
            child.kill()
            raise AssertionError(child.communicate()[1].decode())
        outcome = attack("/proc/PID/mem", Target(child.pid, list(coded.values())))
    must_run(outcome.skipped)
    assert outcome.failed is None
    return set(outcome.found)
