"""An environment variable becomes a SecureBytes, and is gone from everywhere else in the process."""
import os
import textwrap

import pytest
from support.children import succeed
from support.fixtures import nothing_leaks  # noqa: F401

from secalloc import SecureBytes

PLACES = """
import ctypes, gc, os, subprocess
from secalloc import SecureBytes
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
def block(pid="self"):
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read()
def places(name, value):
    "Where the value is to be found, by ways that do not ask us."
    child = subprocess.run(["env"], capture_output=True, check=True).stdout
    found = {"os.environ": os.environ.get(name) == value.decode(), "os.getenv": os.getenv(name) is not None,
             "libc": getenv(name.encode()) is not None, "the block": value in block(),
             "a child": value in child, "os.environb": os.environb.get(name.encode()) is not None}
    return {place for place in found if found[place]}
EVERYWHERE = {"os.environ", "os.getenv", "libc", "the block", "a child", "os.environb"}
"""


def in_a_process(code, variables=None):
    succeed(PLACES + textwrap.dedent(code), environment=variables)


def test_the_value_is_what_the_variable_had(monkeypatch):
    for value in ("", "x", "p\u20ac\u00df", "two\nlines", "a=b", "k" * 10_000):
        monkeypatch.setenv("TOKEN", value)
        assert SecureBytes.from_env("TOKEN") == value.encode()
        monkeypatch.setenv("TOKEN", value)
        assert SecureBytes.from_env(b"TOKEN") == value.encode()


def test_bytes_that_are_no_text_are_the_value(monkeypatch):
    monkeypatch.setitem(os.environb, b"TOKEN", b"\xff\xfe\x80")
    assert SecureBytes.from_env("TOKEN") == b"\xff\xfe\x80"


def test_a_variable_that_is_read_is_gone_from_every_place():
    in_a_process(
        """
        assert places("TOKEN", b"in the beginning") == EVERYWHERE, places("TOKEN", b"in the beginning")
        key = SecureBytes.from_env("TOKEN", remove=False)
        assert key == b"in the beginning" and places("TOKEN", bytes(key)) == EVERYWHERE
        assert SecureBytes.from_env("TOKEN") == b"in the beginning"
        assert places("TOKEN", b"in the beginning") == set()
        try:
            SecureBytes.from_env("TOKEN")
            raise SystemExit("still there")
        except KeyError as error:
            assert error.args == ("TOKEN",)
        """,
        {"TOKEN": "in the beginning"},
    )


def test_a_variable_that_was_set_again_is_gone_with_its_first_value_and_its_second():
    in_a_process(
        """
        os.environ["TOKEN"] = "and later"
        assert places("TOKEN", b"in the beginning") > {"the block"} and getenv(b"TOKEN") == b"and later"
        libc_has = ctypes.CDLL(None)["getenv"]
        libc_has.restype = ctypes.c_void_p
        string = libc_has(b"TOKEN")
        assert SecureBytes.from_env("TOKEN") == b"and later"
        assert places("TOKEN", b"in the beginning") == places("TOKEN", b"and later") == set()
        assert ctypes.string_at(string, 9) == bytes(9)  # libc keeps the string for ever
        os.environ["TOKEN"] = "anew"
        assert getenv(b"TOKEN") == b"anew" and SecureBytes.from_env("TOKEN") == b"anew"
        """,
        {"TOKEN": "in the beginning"},
    )


def test_other_variables_stay_as_they_were():
    in_a_process(
        """
        others = {name: os.environ[name] for name in os.environ if name != "TOKEN"}
        before = block()
        assert SecureBytes.from_env("TOKEN") == b"value"
        assert {name: os.environ[name] for name in os.environ} == others
        assert all(getenv(name.encode()) == value.encode() for name, value in others.items())
        assert block() == before.replace(b"\\0TOKEN=value\\0", b"\\0TOKEN=" + bytes(6))
        """,
        {"TOKEN": "value", "TOKEN2": "value", "XTOKEN": "value", "TOKE": "N=value", "OTHER": "TOKEN=value",
                     "EMPTY": "", "token": "value"},
    )


def test_a_variable_that_is_in_the_block_twice_is_emptied_twice():
    """execve(2) takes any list; a shell would not make this one."""
    in_a_process(
        """
        import sys
        if len(sys.argv) == 1:
            libc = ctypes.CDLL(None)
            strings = [b"TOKEN=first", b"PATH=/bin:/usr/bin", b"TOKEN=second"]
            program = [sys.executable, "-P", "-c", open("/proc/self/cmdline").read().split("\\0")[3], "again"]
            libc.execve(sys.executable.encode(), (ctypes.c_char_p * 6)(*[a.encode() for a in program], None),
                        (ctypes.c_char_p * 4)(*strings, None))
        assert b"first" in block() and b"second" in block()
        SecureBytes.from_env("TOKEN")
        assert b"first" not in block() and b"second" not in block() and getenv(b"TOKEN") is None
        """,
    )


def test_the_bytes_of_os_environ_are_wiped_unless_somebody_else_has_them():
    in_a_process(
        """
        def address_and_content(name):
            value = os.environb[name]
            return id(value) + bytes.__basicsize__ - 1, len(value)
        at = address_and_content(b"TOKEN")
        assert ctypes.string_at(*at) == b"nobody else's"
        SecureBytes.from_env("TOKEN")
        assert b"nobody" not in ctypes.string_at(*at)
        kept = os.environb[b"KEPT"]
        SecureBytes.from_env("KEPT")
        assert kept == b"somebody's"
        os.environb[b"SHORT"] = b"k"
        SecureBytes.from_env("SHORT")
        assert b"k" == bytes([107]) == bytes(bytearray(b"k"))
        """,
        {"TOKEN": "nobody else's", "KEPT": "somebody's"},
    )


@pytest.mark.parametrize("name", ["NO_SUCH_VARIABLE", "", "A=B", b"NO_SUCH_VARIABLE"])
def test_no_such_variable_is_a_key_error_with_its_name(name):
    with pytest.raises(KeyError) as caught:
        SecureBytes.from_env(name)
    assert caught.value.args == (name,)


@pytest.mark.parametrize("name", [5, None, [], bytearray(b"TOKEN")])
def test_a_name_of_another_type_is_a_type_error(name):
    with pytest.raises(TypeError):
        SecureBytes.from_env(name)


def test_a_string_that_cannot_be_written_to_is_left_alone():
    """putenv(3) takes any pointer: here one to a page that is read-only."""
    in_a_process(
        """
        import mmap
        page = mmap.mmap(-1, 4096)
        page[:12] = b"TOKEN=value\\0"
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        libc = ctypes.CDLL(None)
        assert libc.putenv(ctypes.c_void_p(address)) == 0 and getenv(b"TOKEN") == b"value"
        os.environ._data[b"TOKEN"] = bytes(bytearray(b"value"))
        assert libc.mprotect(ctypes.c_void_p(address), 4096, mmap.PROT_READ) == 0
        assert SecureBytes.from_env("TOKEN") == b"value"
        assert getenv(b"TOKEN") is None
        """
    )


def test_where_proc_cannot_be_read_nothing_is_removed():
    in_a_process(
        """
        from support import hostile
        warm = SecureBytes(5)  # the heap needs no descriptor any more
        with hostile.NoDescriptorLeft():
            try:
                SecureBytes.from_env("TOKEN")
                raise SystemExit("not refused")
            except OSError:
                assert getenv(b"TOKEN") == b"value" and os.environ["TOKEN"] == "value"
        assert SecureBytes.from_env("TOKEN") == b"value"
        """,
        {"TOKEN": "value"},
    )


def test_an_ordinary_user_may_do_it_as_well():
    in_a_process(
        """
        from support import hostile
        hostile.become_ordinary_user()
        assert SecureBytes.from_env("TOKEN") == b"value"
        """,
        {"TOKEN": "value"},
    )
