"""A line typed at a terminal: keys, signals, the end of the input, and the terminal as it was afterwards."""
import os
import signal
import subprocess
import sys

import pytest
from support.asked import Asked, typed
from support.children import succeed

from secalloc import SecureBytes

PASTED = (b"\x1b[200~", b"\x1b[201~")
CTRL_C, CTRL_D, CTRL_U, CTRL_W, CTRL_Z = b"\x03", b"\x04", b"\x15", b"\x17", b"\x1a"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (b"secret\r", b"secret"), (b"secret\n", b"secret"), (b"\r", b""), (b" two words \r", b" two words "),
        ("pä€😀\r".encode(), "pä€😀".encode()), (b"\xff\xfe\r", b"\xff\xfe"), (b"tab\there\r", b"tab\there"),
        (b"s" * 4_096 + b"\r", b"s" * 4_096),
        (b"secrex\x7ft\r", b"secret"), (b"\x7f\x7fx\x08y\r", b"y"), ("aä€😀\x7f\x7f\x7fb\r".encode(), b"ab"),
        (b"\x80\x80\x7f\x7fx\r", b"x"),
        (b"wrong" + CTRL_U + b"right\r", b"right"), (CTRL_U + b"x\r", b"x"),
        (b"one two  three  " + CTRL_W + b"x\r", b"one two  x"), (b"one" + CTRL_W + CTRL_W + b"x\r", b"x"),
        (b"secret" + CTRL_D, b"secret"), (b"x\x7f" + b"y" + CTRL_D, b"y"),
        (b"se\x1b[Dcr\x1bOPe\x1b[15~t\x1b[1;5C\x1bx\r", b"secret"),
        (PASTED[0] + b"secret" + PASTED[1] + b"\r", b"secret"),
        (b"a" + PASTED[0] + b"secret\r\n" + PASTED[1] + b"b\r", b"asecretb"),
        (PASTED[0] + b"line 1\rline 2\r" + PASTED[1] + b"\r", b"line 1\nline 2"),
        (PASTED[0] + CTRL_U + CTRL_D + b"\x7f\x1b[D" + PASTED[1] + b"\r", CTRL_U + CTRL_D + b"\x7f\x1b[D"),
        (PASTED[0] + b"\x1b\x1b[20" + PASTED[1] + b"\x7f\r", b"\x1b\x1b[2"),
        (PASTED[0] + PASTED[1] + PASTED[0] + b"s" * 4_096 + PASTED[1] + b"\r", b"s" * 4_096),
        (b"x" * 4_097 + CTRL_U + b"short\r", b"short"),
    ],
)  # fmt: skip
def test_keys_make_a_line(keys, line):
    assert typed(keys) == repr(line)


@pytest.mark.parametrize("keys", [b"s" * 4_097, b"s" * 6_000, PASTED[0] + b"s" * 4_097 + PASTED[1]])
def test_a_line_that_is_too_long_is_refused_whole(keys):
    assert typed(keys + b"\r") == "ValueError the line has more than 4096 bytes"


def test_max_size_is_for_bytes():
    assert typed("€€€\r".encode(), max_size=9) == repr("€€€".encode())
    assert typed("€€€\r".encode(), max_size=8) == "ValueError the line has more than 8 bytes"
    assert typed(b"\r", max_size=0) == "b''"


@pytest.mark.parametrize("keys", [CTRL_D, b"x\x7f" + CTRL_D, b"secret" + CTRL_U + CTRL_D])
def test_the_end_of_the_input_is_an_eof_error(keys):
    assert typed(keys).startswith("EOFError")


def test_nothing_of_the_line_is_shown_and_the_prompt_is_all_there_is():
    with Asked("ask(prompt='PIN für €: ')", term="dumb") as asked:
        asked.type(b"secret\r", "PIN für €: ".encode())
        asked.answer()
    assert asked.shown == "PIN für €: \r\n".encode()


def test_a_terminal_that_knows_paste_is_told_to_mark_it_and_to_stop():
    with Asked("ask()") as asked:
        asked.type(b"secret\r")
        asked.answer()
    assert asked.shown == b"\x1b[?2004hPassword: \x1b[?2004l\r\n"


def test_what_is_typed_before_the_prompt_is_shown_by_the_kernel_and_not_taken():
    """The control of the echo: what the terminal does without us."""
    with Asked("import sys; sys.stdin.read(); input = open(sys.argv[1]); print(input.readline().strip())") as asked:
        os.write(asked.controller, b"secret\r")
        assert asked.answer() == "secret\n"
    assert b"secret" in asked.shown


def test_a_mask_shows_one_character_for_each():
    with Asked("print(bytes(ask(mask='*')))", term="dumb") as asked:
        asked.type("aä€\x7f".encode() + b"xyz" + CTRL_W + b"12\r")
        assert asked.answer() == "b'12'\n"
    back = b"\b \b"
    assert asked.shown == b"Password: ***" + back + b"***" + 5 * back + b"**\r\n"


def test_a_confirmation_is_asked_for_and_compared():
    for second, answer in ((b"secret", "b'secret'\n"), (b"Secret", "differs\n"), (b"secre", "differs\n")):
        code = """
            try:
                print(bytes(ask(confirm="Again: ")))
            except ValueError as error:
                assert "the second time differs" in str(error)
                print("differs")
            """
        with Asked(code) as asked:
            asked.type(b"secret\r")
            asked.type(second + b"\r", b"Again: ")
            assert asked.answer() == answer


def test_what_was_typed_too_much_goes_to_nobody():
    code = """
        print(bytes(ask()))
        import select
        print(select.select([os.open("/dev/tty", os.O_RDONLY)], [], [], 0)[0])
        """
    with Asked(code) as asked:
        asked.type(b"secret\rrm -rf /\r")
        assert asked.answer() == "b'secret'\n[]\n"


# --- signals ---


def test_ctrl_c_is_a_keyboard_interrupt_and_the_terminal_as_it_was():
    code = """
        import secalloc
        try:
            ask()
        except KeyboardInterrupt:
            print("interrupted", secalloc.stats().live)
        """
    with Asked(code) as asked:
        asked.type(b"secret" + CTRL_C)
        assert asked.answer() == "interrupted 0\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGQUIT", "SIGALRM"])
def test_a_signal_that_ends_the_process_ends_it_with_the_terminal_as_it_was(name):
    number = getattr(signal, name)
    code = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); ask()"
    with Asked(code) as asked:
        asked.see(b"Password: ")
        assert asked.is_silent()
        asked.signal(number)
        asked.end()
        assert asked.child.returncode == -number


@pytest.mark.parametrize("raises", [True, False])
def test_a_handler_of_somebody_else_s_runs_and_may_end_the_prompt(raises):
    code = f"""
        seen = []
        def handler(number, frame):
            seen.append(number)
            if {raises}:
                raise SystemExit(3)
            print("handled", flush=True)
        signal.signal(signal.SIGTERM, handler)
        print(bytes(ask()))
        assert signal.getsignal(signal.SIGTERM) is handler
        """
    with Asked(code) as asked:
        asked.type(b"sec")
        asked.signal(signal.SIGTERM)
        if not raises:
            assert asked.child.stdout.readline() == "handled\n"
            os.write(asked.controller, b"ret\r")
        output = asked.end()
    assert (output, asked.child.returncode) == (("", 3) if raises else ("b'secret'\n", 0))


def test_handlers_are_what_they_were_when_the_prompt_has_ended():
    code = """
        numbers = sorted(signal.valid_signals())
        before = [signal.getsignal(number) for number in numbers]
        for turn in range(2):
            try:
                ask()
            except EOFError:
                print("end")
            assert [signal.getsignal(number) for number in numbers] == before
        """
    with Asked(code) as asked:
        asked.type(b"secret\r")
        asked.type(CTRL_D, times=2)
        assert asked.answer() == "end\n"


def test_a_signal_at_any_moment_leaves_the_terminal_as_it_was():
    """A thousand prompts that a signal ends sooner or later: none leaves the terminal silent."""
    code = """
        import select, termios, threading  # an import now and then ignores what a handler raises
        fd = os.open(sys.argv[1], os.O_RDWR)
        class Enough(Exception): pass
        def handler(*_): raise Enough
        signal.signal(signal.SIGALRM, handler)
        before = termios.tcgetattr(fd)
        default = signal.getsignal(signal.SIGTERM)
        asked = 0
        for turn in range(1_000):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + turn * 4e-7)
                ask(prompt="")
            except Enough:
                asked += 1
            assert termios.tcgetattr(fd) == before, turn
            assert signal.getsignal(signal.SIGTERM) is default, turn
        print(asked)
        """
    with Asked(code, term="dumb") as asked:
        assert asked.answer() == "1000\n"


# What a shell does: the job in a group of its own, in the foreground; and the terminal back when it has stopped.
SHELL = """
import termios
tty = os.open(sys.argv[1], os.O_RDWR)
before = termios.tcgetattr(tty)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(tty, os.getpid())
    print(bytes(ask(mask="*")), flush=True)
    os._exit(0)
print(child, flush=True)
_, status = os.waitpid(child, os.WUNTRACED)
assert os.WIFSTOPPED(status)
os.tcsetpgrp(tty, os.getpid())
print("as it was" if termios.tcgetattr(tty) == before else "silent", flush=True)
termios.tcsetattr(tty, termios.TCSANOW, before)
os.tcsetpgrp(tty, child)
os.killpg(child, signal.SIGCONT)
_, status = os.waitpid(child, 0)
assert status == 0
os.tcsetpgrp(tty, os.getpid())
"""


@pytest.mark.parametrize(("stop", "mode"), [("Ctrl-Z", "as it was"), ("SIGTSTP", "as it was"), ("SIGSTOP", "silent")])
def test_one_that_was_stopped_asks_again_and_is_silent_again(stop, mode):
    """SIGSTOP gives nobody the time to restore the terminal; a shell does so."""
    with Asked(SHELL) as asked:
        job = int(asked.child.stdout.readline())
        asked.type(b"sec", b"Password: ")
        asked.see(b"***")
        if stop == "Ctrl-Z":
            os.write(asked.controller, CTRL_Z)
        else:
            os.kill(job, getattr(signal, stop))
        assert asked.child.stdout.readline() == f"{mode}\n"
        asked.type(b"ret\r", b"Password: ***", times=2)
        assert asked.answer() == "b'secret'\n"


def test_another_thread_may_ask_as_well():
    code = """
        import threading
        thread = threading.Thread(target=lambda: print(bytes(ask())))
        thread.start()
        thread.join()
        """
    with Asked(code) as asked:
        asked.type(b"secret\r")
        assert asked.answer() == "b'secret'\n"


def test_a_terminal_that_is_hung_up_is_the_end_of_the_input():
    code = """
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            ask()
        except EOFError:
            print("ended")
        """
    with Asked(code) as asked:
        asked.type(b"sec")
        asked.hang_up()
        assert asked.end() == "ended\n"
        assert (asked.child.returncode, asked.errors) == (0, "")


# --- no terminal ---


def test_without_a_terminal_the_error_says_what_can_be_done():
    code = """
        from secalloc import SecureBytes
        try:
            SecureBytes.from_prompt()
        except OSError as error:
            print(error.errno, error.strerror)
        """
    output = succeed(code, start_new_session=True, stdin=subprocess.DEVNULL)
    assert "stdin=True reads a line of standard input" in output


def line_of(content, code="print(bytes(SecureBytes.from_prompt(stdin=True)))"):
    """What a process makes of its standard input, a pipe."""
    done = subprocess.run([sys.executable, "-P", "-c", f"import os\nfrom secalloc import SecureBytes\n{code}"],
                          input=content, capture_output=True, check=False, cwd="/", start_new_session=True)  # fmt: skip
    return done.stdout.decode() + done.stderr.decode().strip().rpartition("\n")[2]


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"secret\nrest", b"secret"), (b"secret\r\n", b"secret"), (b"secret", b"secret"), (b"\n", b""), (b"\r\n", b""),
     (b" \x7f\x04\x1b[D\n", b" \x7f\x04\x1b[D"), (b"a\rb\n", b"a\rb"), (b"s" * 4_096 + b"\n", b"s" * 4_096)],
)  # fmt: skip
def test_a_line_of_standard_input_is_taken_as_it_is(content, line):
    assert line_of(content) == f"{line!r}\n"


def test_standard_input_is_read_up_to_the_line_s_end_and_no_further():
    code = "from_ = SecureBytes.from_prompt\nprint(bytes(from_(stdin=True)), bytes(from_(stdin=True)), os.read(0, 99))"
    assert line_of(b"one\ntwo\nrest\n", code) == "b'one' b'two' b'rest\\n'\n"


def test_standard_input_that_is_empty_or_too_long_is_an_error():
    assert line_of(b"") == "EOFError: standard input has ended"
    assert line_of(b"s" * 4_097 + b"\n") == "ValueError: the line has more than 4096 bytes"


def test_standard_input_that_is_a_terminal_is_asked_as_one():
    code = "os.dup2(os.open(sys.argv[1], os.O_RDWR), 0); print(bytes(ask(stdin=True)))"
    with Asked(code) as asked:
        while not asked.is_silent():
            pass
        os.write(asked.controller, b"wrong" + CTRL_U + b"secret\r")
        output = asked.end()
    assert (output, asked.child.returncode) == ("b'secret'\n", 0)
    assert "Password: " in asked.errors  # standard error is no terminal here
    assert b"secret" not in asked.shown


# --- bad input ---


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"prompt": b"x"}, TypeError), ({"prompt": None}, TypeError), ({"mask": "**"}, ValueError),
        ({"mask": "\n"}, ValueError), ({"mask": "€"}, ValueError), ({"mask": 5}, TypeError),
        ({"confirm": True}, TypeError), ({"max_size": -1}, ValueError), ({"max_size": None}, TypeError),
        ({"heap": 5}, TypeError),
        ({"confirm": "Again: ", "stdin": True}, ValueError),
    ],
)  # fmt: skip
def test_wrong_options_are_errors_before_anything_is_asked(options, error):
    with pytest.raises(error):
        SecureBytes.from_prompt(**options)
