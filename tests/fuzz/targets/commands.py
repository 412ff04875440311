"""The command line, with options of any kind: it ends with a status that its help promises, and never with a traceback.

Commands that would attack, measure or run for long get only as far as their arguments are understood.
"""
import os

from click.testing import CliRunner
from hypothesis import given, note
from hypothesis import strategies as st

from fuzz.behaviour import saw
from fuzz.ways import Ways
from secalloc.cli import main

WORDS = st.one_of(
    st.sampled_from(["", "-", "--", "-h", "--help", "--version", "--json", "--no-such", "-1", "0", "1",
                     "99999999999999999999", "1e9",
                     "4 MiB", "64 KiB", "-4 MiB", "x MiB", "{}", "\x00", "\udc80", "\u20ac", "a b", "=", "/",
                     "/dev/null", "no/such"]),
    st.text(st.sampled_from("-=ab0 \n\t{}\"'\\\u20ac"), max_size=6),
)  # fmt: skip
PATTERNS = st.one_of(
    st.text(st.sampled_from("ab(|)[]?.^$\\1"), max_size=6),
    st.sampled_from(["(", "[z-a]", "alloc", "(?P<", "\\", "(?i)NUMPY"]),
)
NEVER_ENDS = {"demo", "bench", "leaks", "check"}
SCRIPT = os.path.abspath("script.py")
with open(SCRIPT, "w") as _file:
    _file.write("import sys\nfrom secalloc import SecureBytes\nkept = SecureBytes(40)\n"
                "sys.exit(sys.argv[1] if len(sys.argv) > 1 else None)\n")  # fmt: skip
HEAPS = ()  # `map` keeps an example
way = Ways()


def run(name, arguments, statuses=(0, 1, 2)):
    done = CliRunner().invoke(main, arguments, prog_name="secalloc")
    kind = type(done.exception).__name__
    saw(
        name,
        kind,
        done.exit_code if isinstance(done.exit_code, int) else "text",
        done.output.rpartition("Error: ")[2][:14],
    )
    note(f"{arguments}: {done.exit_code} {kind}\n{done.output[-500:]}")
    assert done.exception is None or isinstance(done.exception, SystemExit), f"{name} ended with {kind}"
    assert done.exit_code in statuses, f"{name} ended with another status"
    assert "Traceback" not in done.output
    return done


@way(st.lists(WORDS, max_size=4))
def any_words(words):
    """Without the name of a command that goes to work."""
    run("secalloc", [word for word in words if word not in NEVER_ENDS])


@way(st.sampled_from(sorted(NEVER_ENDS)), st.lists(WORDS, max_size=3), st.booleans())
def misused(command, words, at_end):
    """With an option that there is not, so that it ends there; `leaks` takes the words behind its own for a command."""
    extra = ["--no-such-option"]
    words = [] if command == "leaks" else [word for word in words if word != "--"]
    done = run(command, [command, *words, *extra] if at_end else [command, *extra, *words])
    assert done.exit_code in (0, 2)


@way(st.one_of(WORDS, st.sampled_from(["1 XiB", "1.5 MiB", "MiB", "", "12 12"])))
def check_reserve(size):
    """Where that is no size, it says so, and looks at nothing."""
    if any(letter.isdigit() for letter in size) and size not in ("x MiB", "1 XiB", "1.5 MiB", "12 12", "1e9", "-4 MiB"):
        return
    run("check --reserve", ["check", "--reserve", size])


@way(
    PATTERNS, st.lists(st.sampled_from(["--quick", "--no-plots", "--rounds=2", "--rounds=1", "--rounds=x"]), max_size=2)
)
def bench_list(pattern, more):
    run("bench --list", ["bench", "--list", "--only", pattern, *more])


@way(
    st.lists(WORDS.filter(lambda word: word != "\udc80"), max_size=2),
    st.sampled_from([None, "image.svg", "/no/such/image.svg", "", "/"]),
)
def map_script(words, image):
    status = words[0] if words and words[0] != "" else None
    done = run("map", ["map", *(["--svg", image] if image is not None else []), SCRIPT, *words], statuses=(0, 1, 2))
    assert status is None or done.exit_code != 0 or image in ("", "/", "/no/such/image.svg")


@way(st.sampled_from(["no/such.py", "/", "", "\udc80", "image.svg"]))
def map_no_script(path):
    if not os.path.isfile(path):
        assert run("map no script", ["map", path]).exit_code == 2


@given(way.lists(4))
def check(steps):
    for step in steps:
        way.go(step)
