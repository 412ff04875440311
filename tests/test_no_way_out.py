"""Ways by which content gets out without anybody's wish: none of them shows that of a SecureBytes.

Each is tried with a bytearray as well, whose content it must show: else it would show nothing of anything.
"""
import bdb
import collections
import contextlib
import copy
import dataclasses
import inspect
import io
import json
import logging
import marshal
import pdb
import pickle
import pprint
import reprlib
import subprocess
import sys
import textwrap
import traceback
import unittest

import pytest
from rich.console import Console
from rich.pretty import pretty_repr
from rich.traceback import Traceback
from support.fixtures import nothing_leaks  # noqa: F401

from secalloc import SecureBytes

SECRET = b"correct horse battery staple"


def shows(text):
    """Whether an output has the secret's start or end, in one of the forms in which outputs have bytes."""
    data = text if isinstance(text, bytes) else text.encode()
    parts = SECRET[:6], SECRET[-6:]
    forms = [form for part in parts for form in (part, part.hex().encode(), ", ".join(map(str, part)).encode())]
    return any(form in data for form in forms)


def printed(write, *arguments):
    """What a function writes to a file."""
    stream = io.StringIO()
    write(stream, *arguments)
    return stream.getvalue()


def logged(key):
    stream = io.StringIO()
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(stream))
    logger.error("the key is %s, %r", key, [key])
    try:
        raise ValueError(key)
    except ValueError:
        logger.exception("with a traceback")
    return stream.getvalue()


def failing(key):
    raise ValueError("failed")


def caught(key):
    with pytest.raises(ValueError, match="failed") as error:
        failing(key)
    return error.value


def rich_traceback(key):
    error = caught(key)
    console = Console(file=io.StringIO(), width=200)
    console.print(Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True))
    return console.file.getvalue()


def in_frames(key):
    """As debuggers and reporters of errors walk them."""
    frames = inspect.getinnerframes(caught(key).__traceback__)
    return repr([inspect.getargvalues(frame.frame) for frame in frames])


def asked_of_pdb(key):
    """Which runs Python's own `repr`, `pprint` and `locals`."""
    commands = io.StringIO("p key\npp [key]\np locals()\nargs\ndisplay key\nq\n")
    stream = io.StringIO()
    with contextlib.suppress(bdb.BdbQuit):
        pdb.Pdb(stdin=commands, stdout=stream, nosigint=True, readrc=False).runcall(failing, key)
    return stream.getvalue()


def attribute_by_attribute(key):
    """As a debugger's view of variables unfolds an object that is none of Python's own."""
    return repr(key) + repr([getattr(key, name) for name in dir(key)]) + repr(inspect.getmembers(key))


def compared_by_unittest(key):
    with pytest.raises(AssertionError) as error:
        unittest.TestCase().assertEqual(key, b"other")  # noqa: PT009
    return str(error.value)


@dataclasses.dataclass
class Account:
    name: str
    key: object


Pair = collections.namedtuple("Pair", ["name", "key"])
TEMPLATE = "{0} {0!r}"
WAYS = {
    "str()": str, "repr()": repr, "ascii()": ascii, "format()": format,
    "an f-string": lambda key: f"{key} {key!s} {key!r} {key!a}", "str.format()": TEMPLATE.format,
    "%s": "%s".__mod__, "%r": "%r".__mod__, "%a of bytes": b"%a".__mod__,
    "print()": lambda key: printed(lambda stream: print(key, [key], file=stream)),
    "pprint": lambda key: pprint.pformat({"key": [key]}), "reprlib": reprlib.repr, "rich": pretty_repr,
    "a container": lambda key: str([key, (key,), {"key": key}, collections.deque([key])]),
    "a namedtuple": lambda key: str(Pair("name", key)), "a dataclass": lambda key: str(Account("name", key)),
    "asdict()": lambda key: str(dataclasses.asdict(Account("name", key))),
    "astuple()": lambda key: str(dataclasses.astuple(Account("name", key))),
    "vars()": lambda key: str(vars(Account("name", key))),
    "a copy": lambda key: str([copy.copy(key), copy.deepcopy({"key": [key]})]),
    "an exception": lambda key: str(ValueError(key)) + repr(KeyError("key", key)),
    "json": lambda key: json.dumps({"key": key}, default=repr), "logging": logged,
    "a traceback with locals": lambda key: "".join(
        traceback.TracebackException.from_exception(caught(key), capture_locals=True).format()),
    "rich's traceback with locals": rich_traceback, "frames": in_frames, "pdb": asked_of_pdb,
    "attributes": attribute_by_attribute, "unittest": compared_by_unittest,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_no_output_shows_the_content(way):
    assert shows(way(bytearray(SECRET)))  # the control
    assert not shows(way(SecureBytes(SECRET)))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_is_not_pickled_alone_or_within_others(protocol):
    for wrap in (lambda key: key, lambda key: [key], lambda key: Account("name", key)):
        assert pickle.loads(pickle.dumps(wrap(bytearray(SECRET)), protocol)) == wrap(bytearray(SECRET))
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(wrap(SecureBytes(SECRET)), protocol)


def test_json_has_no_form_for_it():
    with pytest.raises(TypeError):
        json.dumps({"key": SecureBytes(SECRET)})


def test_a_deep_copy_is_one_on_secret_pages():
    account = copy.deepcopy(Account("name", SecureBytes(SECRET)))
    assert type(account.key) is SecureBytes
    assert account.key == SECRET
    assert type(dataclasses.asdict(account)["key"]) is SecureBytes


def test_what_is_told_of_its_size_is_numbers_alone():
    key = SecureBytes(SECRET)
    assert sys.getsizeof(key) == sys.getsizeof(SecureBytes(len(SECRET)))
    assert not shows(repr((key.__sizeof__(), sys.getrefcount(key), len(key))))


@pytest.mark.parametrize("kind", ["bytearray", "SecureBytes"])
def test_pytest_explains_a_failed_assertion_without_the_content(tmp_path, kind):
    """Its rewriting of assertions looks into what it knows: sequences item by item."""
    test = f"""
        from secalloc import SecureBytes
        coded = bytes.fromhex({bytes(byte ^ 0x55 for byte in SECRET).hex()!r})
        def secret():
            return {kind}(bytes(byte ^ 0x55 for byte in coded))
        def test_equal():
            key = secret()
            assert key == {kind}(b"other")
        def test_last():
            key = secret()
            assert key == secret()[:-1] + b"~"
        def test_in():
            assert secret() in [{kind}(b"other")]
        def test_all():
            assert not all([secret()])
        def test_list():
            assert [secret()] == [{kind}(28)]
        def test_call():
            key = secret()
            assert len(key) == 5, key
        """
    (tmp_path / "test_it.py").write_text(textwrap.dedent(test))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-vv", "--showlocals", "-p", "no:cacheprovider", "--rootdir", tmp_path,
         tmp_path], capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "6 failed" in done.stdout
    assert "AssertionError" in done.stdout
    assert shows(done.stdout) is (kind == "bytearray")
    assert (f"At index {len(SECRET) - 1} diff" in done.stdout) is (kind == "bytearray")


# What hands out the bytes by the caller's own word, as ordinary copies. A buffer cannot be kept from these.
EXPLICIT = {
    "bytes()": bytes, "bytearray()": lambda key: bytes(bytearray(key)),
    "list()": lambda key: repr(list(key)), "iteration": lambda key: repr([*key]),
    "tobytes()": lambda key: memoryview(key).tobytes(), "join()": lambda key: b"".join([key]),
    "%s of bytes": lambda key: b"%s" % key, "marshal": marshal.dumps,
    "a PickleBuffer": lambda key: pickle.dumps(pickle.PickleBuffer(key), 5),
}  # fmt: skip


@pytest.mark.parametrize("way", EXPLICIT.values(), ids=EXPLICIT)
def test_what_asks_for_the_bytes_gets_them(way):
    assert shows(way(SecureBytes(SECRET)))
