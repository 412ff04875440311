"""`secalloc check --reserve`: whether there is as much secret memory."""
import contextlib
import json
import os
import pty
import re
import subprocess
import sys

import pytest
from support.children import succeed

from secalloc import check
from secalloc_ext.heapobject import layouts


def secalloc_check(*arguments):
    command = [sys.executable, "-P", "-m", "secalloc", "check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_reserving_tells_how_long_it_took_and_leaves_nothing():
    done = secalloc_check("--json", "--reserve", "1 MiB")
    assert done.returncode == 0, done.stderr
    [row] = [row for row in json.loads(done.stdout) if row["name"].startswith("reserve")]
    assert row["name"] == "reserve 1 MiB"
    assert row["state"] == "ok"
    assert re.fullmatch(r"[\d.e+-]+ s, [\d.e+-]+ us a page, \d+ threads", row["value"])
    check.reservation(1 << 20)
    assert not [name for name, parts in layouts() if name == "check" and parts]


def test_reserving_more_than_a_user_may_have_says_how_much_there_was():
    succeed(r"""
import re, threading  # while the interpreter can be read
from secalloc import check
from support import hostile
hostile.become_ordinary_user()
hostile.limit("RLIMIT_MEMLOCK", 8 << 20)
row = check.reservation(64 << 20)
assert row.state == "problem", row
assert re.fullmatch(r"no more than (8|7\.\d+) MiB", row.value), row
assert "RLIMIT_MEMLOCK" in row.advice, row
""")


def test_reserving_draws_a_bar_on_a_terminal():
    here, there = pty.openpty()
    with subprocess.Popen([sys.executable, "-P", "-m", "secalloc", "check", "--reserve", "4 MiB"],
                          stdout=subprocess.DEVNULL, stderr=there) as process:
        os.close(there)
        drawn = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while part := os.read(here, 4096):
                drawn += part
    os.close(here)
    assert process.returncode == 0
    assert b"reserve 4 MiB" in drawn
    assert b"4.2/4.2 MiB" in drawn or b"/4.0 MiB" in drawn


@pytest.mark.parametrize("size", ["5zz", "-1", ""])
def test_a_size_that_is_none_is_refused(size):
    done = secalloc_check("--reserve", size)
    assert done.returncode == 2
    assert "--reserve" in done.stderr
