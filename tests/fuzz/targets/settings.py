"""Sizes as text, environment variables and arguments of `configure`: understood as documented, or refused.

`configure` is called in forked children, as it comes before a process's first secret.
"""
import os
import re
import traceback
import warnings

from hypothesis import given, note
from hypothesis import strategies as st

import secalloc
from fuzz.behaviour import kind, saw
from fuzz.compare import is_error, outcome
from fuzz.ways import Ways
from secalloc_ext.heapobject import DEFAULT, parse_size

UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
SIZE = re.compile(r"\s*([0-9]+)[ ]*([A-Z]*)\s*")
TEXTS = st.one_of(
    st.builds(lambda *parts: "".join(parts), st.sampled_from(["", " ", "\t", "-", "+", "0x", "1_"]),
              st.sampled_from(["", "0", "1", "64", "4", "007", "1e3", "1.5", "\u0664", "\xb2", "9" * 30, "16777216"]),
              st.sampled_from(["", " ", "  ", "\n", "\xa0"]),
              st.sampled_from(["", "b", "B", "k", "KiB", "kib", "kB", "M", "MiB", "mb", "GiB", "TiB", "i", "iB", "MM",
                               "KIBB", " B", "\u212a"]),
              st.sampled_from(["", " ", "\n", "\0", "x"])),
    st.text(st.sampled_from("0123456789KMGiB \t-\u0660\u212a"), max_size=8),
)  # fmt: skip
SETTINGS = st.one_of(
    TEXTS, st.sampled_from(["secretmem", "mlock", "auto", "", "SECRETMEM", "mlock ", "fast", "full", "none"])
)
VARIABLES = ("SECALLOC_BACKEND", "SECALLOC_HARDENING", "SECALLOC_RESERVATION")
VALUES = st.one_of(
    st.none(), st.booleans(), st.sampled_from([0, 1, -1, 256, 257, 2**62, 2**64, 1.5, b"mlock", []]), SETTINGS
)
KEYS = ("backend", "limit", "reservation", "flags", "on_fork", "retain", "flush_on_wipe", "prefault", "hardening",
        "quarantine",
        "quarantine_large", "warm_large", "gap_frames", "verify_whole", "no_such")  # fmt: skip
REFUSALS = (ValueError, TypeError, OverflowError, AttributeError, MemoryError, OSError, NotImplementedError)
HEAPS = ()  # even to look at the default heap is to use it
way = Ways()


@way(TEXTS)
def size(text):
    """Digits and a unit, of powers of 1,024 or of ten; nothing else is guessed at."""
    answer = outcome(parse_size, text)
    found = SIZE.fullmatch(text.upper())
    saw("size", kind(answer), found is not None, found and found[2])
    if found and found[2] in UNITS:
        assert answer == int(found[1]) * UNITS[found[2]], "another size"
    elif "\n" not in text and "\t" not in text:  # space of other kinds may be between
        assert answer is ValueError, f"{text!r} was taken for a size"


@way(st.one_of(st.integers(-(2**70), 2**70), st.sampled_from([None, 1.5, b"1", [], True, 2**64])))
def number(value):
    answer = outcome(parse_size, value)
    saw("number", kind(answer))
    assert answer == value if isinstance(value, int) and value >= 0 else is_error(answer)


def in_a_child(work):
    """What `work` answers, in a forked child, as text."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            told = work()
        except BaseException:
            told = traceback.format_exc()
        finally:
            os.write(writer, told.encode(errors="replace"))
            os._exit(0)
    os.close(writer)
    with open(reader) as file:
        told = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, f"the child ended with {status}"
    return told


def asked_backend(arguments):
    """What is given, be it empty, is no default."""
    if arguments.get("backend") is not None:
        return arguments["backend"]
    return os.environ.get("SECALLOC_BACKEND", "secretmem")


def use(arguments):
    """The name of the error that refused it, or "works", as asked for."""
    warnings.simplefilter("ignore")
    try:
        secalloc.configure(**arguments)
    except REFUSALS as error:
        return type(error).__name__
    for text in ("x", "y" * 5_000):
        try:
            key = secalloc.SecureBytes(text, "ascii")
        except (secalloc.AllocationError, secalloc.SecretMemoryUnavailable):
            return "no memory"
        assert key == text.encode()
        assert key.backend == asked_backend(arguments).replace("auto", key.backend)
    assert DEFAULT.on_fork == arguments.get("on_fork", "isolate")
    limit = arguments.get("limit")
    assert DEFAULT.limit == (None if limit is None else parse_size(limit) or None)
    assert DEFAULT.is_valid()
    return "works"


@way(st.dictionaries(st.sampled_from(VARIABLES), SETTINGS.filter(lambda text: "\0" not in text and text.isascii()),
                     max_size=3),
     st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3))  # fmt: skip
def configure(variables, arguments):
    before = {name: os.environ.pop(name, None) for name in VARIABLES}
    os.environ.update(variables)
    try:
        told = in_a_child(lambda: use(arguments))
    finally:
        for name in VARIABLES:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in before.items() if value is not None})
    note(told)
    assert len(told.split()) <= 2, "something else than a refusal"
    saw("configure", *sorted(variables), "/", *sorted(arguments), told)


@given(way.lists(6))
def check(steps):
    for step in steps:
        way.go(step)
