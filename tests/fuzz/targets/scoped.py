"""Python's own objects in `secalloc.scope()`: each operation answers there what it answers elsewhere.

The heap of scopes keeps what Python keeps (caches, interned text), so that it is only to be valid.
"""
import collections
import decimal
import fractions
import io
import itertools
import json
import re
import string
import struct
import textwrap

from hypothesis import given, note
from hypothesis import strategies as st

import secalloc
from fuzz.behaviour import kind, saw, size
from fuzz.compare import is_error, outcome
from fuzz.values import CONTENT, EDGES, ENDS, SLICES, SMALL, SOME, TEXT
from fuzz.ways import Ways
from secalloc_ext import pep445

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), TEXT)
NESTED = st.recursive(
    LEAVES, lambda each: st.lists(each, max_size=5) | st.dictionaries(TEXT, each, max_size=5), max_leaves=12
)
LISTS = st.lists(st.integers(-50, 50), max_size=30)
PATTERNS = st.sampled_from(
    [r"a+", r"[0-9]*", r"(a)|(b)", r"\s+", r"(?P<x>.)\W", r"^", r"$", r"(?i)A.", r"\b", r"(", r"[z-a]", r"(?s).*"]
)
COUNTS = st.one_of(SMALL, st.sampled_from(EDGES))
way = Ways()


def same(name, compute, about=0):
    """`compute` answers plain values, made anew each time."""
    expected = outcome(compute)
    with secalloc.scope():
        answer = outcome(compute)
    saw(name, kind(answer), size(about))
    note(f"{name}: {answer!r:.200}, expected {expected!r:.200}")
    assert type(answer) is type(expected), f"{name} answers another type in a scope"
    assert answer == expected, f"{name} answers something else in a scope"
    assert repr(answer) == repr(expected) or is_error(answer)
    return answer


@way(NESTED, st.sampled_from([None, 2, "\t"]), st.booleans())
def jsons(value, indent, ascii_only):
    def compute():
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_only, sort_keys=True)
        return json.loads(text), text

    same("json", compute, len(repr(value)))


@way(st.text(st.sampled_from('{}[]",:0e-+.tnulrsfa \\u\ud800'), max_size=20))
def json_damaged(text):
    same("json damaged", lambda: json.loads(text))


METHODS = (
    "upper", "title", "casefold", "swapcase", "split", "splitlines", "strip", "isidentifier", "encode", "expandtabs",
)  # fmt: skip


@way(TEXT, TEXT, st.sampled_from(METHODS), SLICES, COUNTS)
def strings(text, other, method, part, count):
    same(f"str.{method}", lambda: [getattr(text + other, method)()], len(text))
    same("str", lambda: [(text * count)[part], text.join([other] * 5), text.replace(other, "x"),
                         text.partition(other or "x"), f"{text:>{max(0, count)}}", text.center(count),
                         f"{text} {other!r}"], count)  # fmt: skip


@way(CONTENT, SOME, SLICES)
def byte_strings(content, other, part):
    def compute():
        buffer = bytearray(content)
        buffer += other
        buffer[3:5] = other
        buffer.extend(content[part])
        buffer.insert(0, 7)
        return [
            bytes(buffer),
            content.split(other or b"a"),
            content.hex(),
            content.replace(other, b"xy"),
            content[part] * 3,
        ]

    same("bytes", compute, len(content))


@way(LISTS, ENDS, st.integers(-40, 40), st.booleans())
def lists(items, at, where, backwards):
    def compute():
        made = list(items)
        made.sort(reverse=backwards)
        made.insert(where, 1.5)
        made.extend(made[:at])
        made += map(str, items)
        del made[::3]
        return made, [*reversed(made)], sum(items), {*items}, collections.Counter(items).most_common(2)

    same("list", compute, len(items))


@way(st.dictionaries(TEXT | st.integers(-9, 9), LEAVES, max_size=30), LISTS)
def dicts(given, others):
    def compute():
        made = dict(given)
        made.update(zip(others, itertools.count()))
        for key in list(made)[::2]:
            made.pop(key)
        made.setdefault("x", []).append(1)
        return made, [*made.items()], {**made, 1: 2}, made | {3: 4}

    same("dict", compute, len(given))


@way(PATTERNS, TEXT, TEXT)
def regexes(pattern, text, replacement):
    same(
        f"re {pattern}",
        lambda: [re.findall(pattern, text), re.split(pattern, text), re.sub(pattern, replacement, text)],
        len(text),
    )


@way(st.integers(-(2**200), 2**200), st.integers(-99, 99), st.floats())
def numbers(large, small, real):
    same(
        "int",
        lambda: [
            large * large,
            str(large),
            divmod(large, small),
            large >> 3,
            pow(large, 5, 97),
            large.to_bytes(26, "big", signed=True),
        ],
    )
    same("float", lambda: [repr(real * small), repr(real + 0.1), f"{real:.3f}", struct.pack("<d", real)])
    same("decimal", lambda: [str(decimal.Decimal(large) / 7), fractions.Fraction(large, small)])


@way(TEXT, COUNTS, CONTENT)
def files(text, count, content):
    def compute():
        file, stream = io.StringIO(), io.BytesIO(content)
        for _ in range(min(count, 300)):
            file.write(text)
        stream.seek(0, 2)
        stream.write(content)
        return file.getvalue()[-50:], stream.getvalue(), textwrap.fill(text), string.Template(text).safe_substitute(a=1)

    same("io", compute, count)


@way(st.integers(0, 60), st.integers(0, 3))
def classes(count, levels):
    def compute():
        def nest(left):
            made = type("Made", (), {"__slots__": ("a", "b")} if left % 2 else {"c": left})
            each = [made() for _ in range(count)]
            cycle = [each]
            cycle.append(cycle)
            return len(each) + (nest(left - 1) if left else 0)

        def generate():
            yield from range(count)

        return nest(levels), [*generate()], list(map(lambda a, b: a + b, range(count), range(count)))

    same("class", compute, count)


@way(st.lists(st.sampled_from(["in", "out"]), max_size=6), LEAVES)
def outliving(order, value):
    """Made within and dropped outside, grown outside, and the other way round."""
    kept = []
    for where in order:
        if where == "in":
            with secalloc.scope():
                kept.append([value, str(value) * 3])
                kept[0].append(len(kept))
        elif kept:
            kept[-1] += [value] * 9
            kept.pop(0)
    saw("outliving", *order[:4])
    assert all(each[0] == value or value != value for each in kept)


@given(way.lists(4))
def check(steps):
    for step in steps:
        way.go(step)
    assert not secalloc.scope.is_active()
    heap = pep445.heap()
    assert heap is None or heap.is_valid(), "the heap of scopes is not valid"
