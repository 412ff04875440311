"""docs/SECUREBYTES.md has every name that bytes, bytearray and SecureBytes have in this Python, and says what is so."""
import re
import sys
from pathlib import Path

import pytest

from secalloc import SecureBytes

DOCUMENT = Path(__file__).parent.parent / "docs" / "SECUREBYTES.md"
ROW = re.compile(r"^\| `(\w+)` \| (both|bytes|bytearray)(?:, 3\.(\d+))? \| (kept|SecureBytes|left out) "
                 r"\| (\w*) ?\| (.*) ?\|$", re.M)  # fmt: skip
TEXT = b"Abc, de\tf"


def table(text):
    """By name: whose it is, since which Python 3, what is made of it here, what its time depends on, the remark."""
    rows = [row.groups() for row in ROW.finditer(text)]
    assert len({name for name, *_ in rows}) == len(rows)
    return {name: (owner, int(since or 0), here, time, remark) for name, owner, since, here, time, remark in rows}


def own_names(text):
    behind = text.partition("Of its own:")[2]
    return {name for row in re.findall(r"^\| (`.*?) \|", behind, re.M) for name in re.findall(r"`(\w+)`", row)}


def errors(text, theirs, ours):
    """What the document says that is not so. `theirs`: names of bytes and of bytearray; `ours`."""
    rows = table(text)
    found = []
    for name in theirs[0] | theirs[1]:
        owner = "both" if name in theirs[0] & theirs[1] else "bytes" if name in theirs[0] else "bytearray"
        if name not in rows:
            found.append(f"{name} is missing")
        elif owner != rows[name][0]:
            found.append(f"{name} is of {owner}")
        elif (name in ours) != (rows[name][2] != "left out"):
            found.append(f"{name} is not {rows[name][2]}")
    found += [f"{name} is of no Python" for name, row in rows.items()
              if (name in theirs[0] | theirs[1]) != (row[1] <= sys.version_info.minor)]  # fmt: skip
    found += [f"{name} has no reason" for name, row in rows.items() if row[2] == "left out" and not row[4]]
    mine = ours - theirs[0] - theirs[1]
    return found + [f"{name} is not of its own" for name in mine ^ own_names(text)]


THEIRS = set(dir(bytes)) - set(dir(object)), set(dir(bytearray)) - set(dir(object))
OURS = set(dir(SecureBytes)) - set(dir(object))


def test_the_table_has_every_name_and_tells_the_truth():
    assert errors(DOCUMENT.read_text(), THEIRS, OURS) == []


def test_a_new_name_of_any_of_the_three_is_missed_and_one_that_went_is_found():
    """The positive control."""
    text = DOCUMENT.read_text()
    both, bytearrays = THEIRS
    assert errors(text, (both | {"shout"}, bytearrays | {"shout"}), OURS) == ["shout is missing"]
    assert errors(text, (both, bytearrays | {"shout"}), OURS) == ["shout is missing"]
    assert errors(text, THEIRS, OURS | {"shout"}) == ["shout is not of its own"]
    assert errors(text, THEIRS, OURS | {"append"}) == ["append is not left out"]
    assert errors(text, THEIRS, OURS - {"find"}) == ["find is not kept"]
    assert errors(text, (both - {"zfill"}, bytearrays - {"zfill"}), OURS)[0] == "zfill is of no Python"
    assert errors(text.replace("| `find` | both |", "| `find` | bytes |"), THEIRS, OURS) == ["find is of both"]
    assert errors(text.replace("`freeze`, `frozen`", "`freeze`"), THEIRS, OURS) == ["frozen is not of its own"]


@pytest.mark.parametrize("name", [name for name, row in table(DOCUMENT.read_text()).items() if row[2] == "SecureBytes"])
def test_what_is_said_to_answer_secure_bytes_does(name):
    arguments = {
        "__add__": [b"x"], "__getitem__": [slice(1, 3)], "__mul__": [2], "__rmul__": [2], "center": [20], "ljust": [20],
        "rjust": [20], "zfill": [20], "fromhex": ["00"], "join": [[b"a"]], "partition": [b","], "rpartition": [b","],
        "removeprefix": [b"A"], "removesuffix": [b"f"], "replace": [b"A", b"B"], "translate": [None],
    }  # fmt: skip
    key = SecureBytes(TEXT)
    answer = getattr(key, name)(*arguments.get(name, []))
    for each in answer if isinstance(answer, list | tuple) else [answer]:
        assert type(each) is SecureBytes
        assert each is not key


def test_the_example_is_about_what_there_is():
    for name in re.findall(r"\b(?:key|line|token\))\.(\w+)\(", DOCUMENT.read_text()):
        assert hasattr(SecureBytes, name)
