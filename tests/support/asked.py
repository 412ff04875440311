"""A child process that asks at a pseudoterminal of its own, and the typist at the other end."""
import os
import pty
import select
import subprocess
import sys
import termios
import textwrap

from support.children import SECONDS_MAX, TESTS

# The first terminal that the leader of a session opens becomes its terminal. A shell that runs the tests in the
# background has had two of these signals ignored, nohup one.
PRELUDE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
from secalloc import SecureBytes
os.open(sys.argv[1], os.O_RDWR)
def ask(**options):
    return SecureBytes.from_prompt(**options)
"""
LFLAG = 3


class Asked:
    """``with Asked(code) as asked``: `code` runs with `ask` for from_prompt, and prints to standard output."""

    def __init__(self, code, term="xterm"):
        self.controller, self.terminal = pty.openpty()
        self.shown = b""
        self.before = termios.tcgetattr(self.terminal)
        self.child = subprocess.Popen(
            [sys.executable, "-P", "-c", PRELUDE + textwrap.dedent(code), os.ttyname(self.terminal)],
            env=os.environ | {"PYTHONPATH": str(TESTS), "TERM": term}, cwd="/", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.child.kill()
        self.child.communicate()
        for fd in (self.controller, self.terminal):
            if fd is not None:
                os.close(fd)

    def see(self, text, times=1):
        """Read what the terminal shows until that text is there, so many times."""
        while self.shown.count(text) < times:
            assert select.select([self.controller], [], [], SECONDS_MAX)[0], f"not shown: {text}, but {self.shown}"
            self.shown += os.read(self.controller, 1_000)

    def type(self, keys, prompt=b"Password: ", times=1):
        """Type when the prompt is there."""
        self.see(prompt, times)
        os.write(self.controller, keys)

    def is_silent(self):
        return not self.mode() & termios.ECHO

    def mode(self):
        return termios.tcgetattr(self.terminal)[LFLAG]

    def hang_up(self):
        """As when a window is closed."""
        os.close(self.terminal)
        os.close(self.controller)
        self.controller = self.terminal = None

    def signal(self, number):
        os.kill(self.child.pid, number)

    def end(self):
        """What it printed, and how it ended; the terminal must be as it was."""
        output, errors = self.child.communicate(timeout=SECONDS_MAX)
        self.errors = errors
        if self.terminal is not None:
            assert termios.tcgetattr(self.terminal) == self.before
            while select.select([self.controller], [], [], 0)[0]:
                self.shown += os.read(self.controller, 1_000)
        return output

    def answer(self):
        """The end of one that ends well."""
        output = self.end()
        assert (self.child.returncode, self.errors) == (0, "")
        return output


def typed(keys, **options):
    """The bytes that `keys` make, behind one prompt; or the error."""
    code = f"""
        try:
            print(bytes(ask(**{options!r})))
        except (EOFError, ValueError) as error:
            print(type(error).__name__, error)
        """
    with Asked(code) as asked:
        asked.type(keys)
        output = asked.answer()
    assert b"ecret" not in asked.shown
    return output.strip()
