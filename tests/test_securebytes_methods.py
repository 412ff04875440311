"""Every method that SecureBytes has of bytearray answers what bytearray's answers, or raises the same type of error.

Hypothesis chooses contents of all size classes, arguments of all kinds of sources, and at most one that is wrong.
"""
import array
import operator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fixtures import nothing_leaks  # noqa: F401
from support.oracle import outcome

from secalloc import Heap, SecureBytes

LETTERS = b"aAbZz09 ,\t\r\n+-\x0b\x00\x7f\x80\xff"
EDGES = [1, 8, 16, 24, 25, 32, 40, 41, 56, 57, 104, 120, 121, 1_000, 1_016, 1_017, 4_088, 4_096, 16_384, 16_392, 16_393]
SHORT = st.lists(st.sampled_from(LETTERS), max_size=48).map(bytes)
SOME = st.lists(st.sampled_from(LETTERS), max_size=3).map(bytes)
LONG = st.builds(lambda some, size: (b"a" + some) * size, SOME, st.sampled_from(EDGES)).flatmap(
    lambda many: st.sampled_from(EDGES).map(lambda size: many[:size]))  # fmt: skip
CONTENT = SHORT | SHORT | SHORT | LONG | st.binary(max_size=300)
SOURCES = (bytes, bytearray, memoryview, lambda part: array.array("B", part), SecureBytes)
NO_BUFFER = st.sampled_from([None, 1.5, "text", [], object(), {1}, memoryview(b"abcd")[::2], 65])
HUGE = st.sampled_from([2**62, -(2**63), 2**63, -(2**63) - 1, 2**100])


def sourced(parts):
    return st.builds(lambda source, part: source(part), st.sampled_from(SOURCES), parts)


class Index:
    """An integer by `__index__` only."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


class Argument:
    """Strategies for one argument: `right`, and `wrong`, of which a call has one at most."""

    def __init__(self, right, wrong):
        self.right, self.wrong = right, wrong


NOT_ONE = st.sampled_from([None, 1.5, "text", [], 256, -1, 2**70, memoryview(b"abcd")[::2]])
PART = Argument(sourced(SOME), NO_BUFFER)
SEPARATOR = Argument(sourced(SOME), NO_BUFFER.filter(lambda wrong: type(wrong) is not memoryview))  # bytes refuses it
PART_OR_BYTE = Argument(sourced(SOME) | st.sampled_from(LETTERS) | st.sampled_from(LETTERS).map(Index), NOT_ONE)
PART_OR_PARTS = Argument(sourced(SOME) | st.lists(sourced(SOME), max_size=3).map(tuple),
                         NO_BUFFER | st.tuples(sourced(SOME), NO_BUFFER))  # fmt: skip
END = Argument(st.none() | st.integers(-50, 50) | st.integers(-20, 20).map(Index) | HUGE, st.sampled_from([1.5, b"1"]))
COUNT = Argument(st.integers(-3, 6) | st.just(Index(2)), st.sampled_from([None, 1.5, "1", 2**63, -(2**64)]))
WIDTH = Argument(st.integers(-3, 70) | st.sampled_from([Index(9), -1]), st.sampled_from([None, 1.5, 2**62, 2**63]))
FILL = Argument(st.sampled_from([b"*", bytearray(b"\xff")]), st.sampled_from([b"", b"ab", "*", 42, None]))
TAB = Argument(st.integers(-2, 12), st.sampled_from([None, 1.5, 2**31]))
TRUTH = Argument(st.booleans(), st.integers(0, 2))
SPACES_OR_PART = Argument(st.none() | sourced(SOME), NO_BUFFER.filter(lambda wrong: wrong is not None))
TABLE = Argument(st.none() | sourced(st.permutations(range(256)).map(bytes)),
                 NO_BUFFER.filter(lambda wrong: wrong is not None) | st.just(bytes(255)))  # fmt: skip
ITEMS = Argument(st.lists(sourced(SHORT), max_size=14) | st.lists(sourced(SHORT), max_size=5).map(tuple),
                 st.sampled_from([None, 5, [1], "ab", [b"a", "b"], [b"a", memoryview(b"ab")[::2]], b"ab"]))  # fmt: skip
DIGIT = Argument(st.sampled_from([":", b"-", "\x7f", b"\x00"]),
                 st.sampled_from(["", "ab", b"", "\xe9", "\u20ac", b"\xff", 1, None]))  # fmt: skip
GROUP = Argument(st.integers(-9, 9) | st.just(-(2**31)), st.sampled_from([None, 1.5, "1", 2**63]))
SIZE = Argument(st.integers(-2, 5) | st.just(Index(2)), st.sampled_from([None, 1.5, "2", b"2", 2**63, 2**62, 2**70]))
ADDED = Argument(sourced(SHORT), NO_BUFFER)
PLAIN = Argument(st.builds(lambda source, part: source(part), st.sampled_from([bytes, bytearray]), SHORT), st.nothing())
NEITHER = Argument(st.nothing(), st.just("text") | st.none() | st.integers())

# By name: the arguments, of which the last may be missing, and the names of those that may be given by it.
METHODS = {
    "find": ([PART_OR_BYTE, END, END], 1), "rfind": ([PART_OR_BYTE, END, END], 1),
    "index": ([PART_OR_BYTE, END, END], 1), "rindex": ([PART_OR_BYTE, END, END], 1),
    "count": ([PART_OR_BYTE, END, END], 1),
    "startswith": ([PART_OR_PARTS, END, END], 1), "endswith": ([PART_OR_PARTS, END, END], 1),
    "split": ([SPACES_OR_PART, COUNT], 0, "sep", "maxsplit"), "rsplit": ([SPACES_OR_PART, COUNT], 0, "sep", "maxsplit"),
    "splitlines": ([TRUTH], 0, "keepends"), "partition": ([SEPARATOR], 1), "rpartition": ([SEPARATOR], 1),
    "strip": ([SPACES_OR_PART], 0), "lstrip": ([SPACES_OR_PART], 0), "rstrip": ([SPACES_OR_PART], 0),
    "removeprefix": ([PART], 1), "removesuffix": ([PART], 1),
    "ljust": ([WIDTH, FILL], 1), "rjust": ([WIDTH, FILL], 1), "center": ([WIDTH, FILL], 1), "zfill": ([WIDTH], 1),
    "expandtabs": ([TAB], 0, "tabsize"),
    "replace": ([PART, PART, COUNT], 2), "translate": ([TABLE, PART], 1, None, "delete"), "reverse": ([], 0),
    "join": ([ITEMS], 1), "hex": ([DIGIT, GROUP], 0, "sep", "bytes_per_sep"), "copy": ([], 0),
    "isalnum": ([], 0), "isalpha": ([], 0), "isascii": ([], 0), "isdigit": ([], 0), "islower": ([], 0),
    "isspace": ([], 0), "istitle": ([], 0), "isupper": ([], 0), "lower": ([], 0), "upper": ([], 0),
    "swapcase": ([], 0), "capitalize": ([], 0), "title": ([], 0),
}  # fmt: skip
OPERATORS = {
    "key + x": (operator.add, ADDED), "key * n": (operator.mul, SIZE), "n * key": (lambda a, b: b * a, SIZE),
    "key += x": (operator.iadd, ADDED), "key *= n": (operator.imul, SIZE),
    "x + key": (lambda a, b: b + a, PLAIN), "text + key": (lambda a, b: b + a, NEITHER),
    "x in key": (operator.contains, PART_OR_BYTE),
}  # fmt: skip


HEAP = Heap("methods")


def calls(arguments, least, *names):
    """Strategies for what a method is called with: positional and named arguments."""

    @st.composite
    def call(draw):
        given = arguments[: draw(st.integers(least, len(arguments)))]
        wrong = draw(st.integers(0, 4 * len(arguments)))
        values = [draw(each.wrong if i == wrong else each.right) for i, each in enumerate(given)]
        first_named = draw(st.integers(0, len(values))) if names else len(values)
        while first_named < len(values) and names[first_named] is None:
            first_named += 1
        return values[:first_named], dict(zip(names[first_named:], values[first_named:], strict=False))

    return call()


def told(answer):
    """What SecureBytes answered, in types that bytearray's answers have as well; all that is secret is in its heap."""
    if isinstance(answer, SecureBytes):
        assert answer.heap is HEAP
        return "secret", bytes(answer)
    if isinstance(answer, list | tuple):
        return type(answer), [told(each) for each in answer]
    return MemoryError if isinstance(answer, type) and issubclass(answer, MemoryError) else (type(answer), answer)


def foretold(answer):
    """What SecureBytes is to answer where bytearray answers this; `hex` has a str."""
    if isinstance(answer, bytes | bytearray | str):
        return "secret", answer.encode() if isinstance(answer, str) else bytes(answer)
    if isinstance(answer, list | tuple):
        return type(answer), [foretold(each) for each in answer]
    return told(answer)


@pytest.fixture(scope="module")
def made(request):
    """Examples made, by method; told at the end."""
    counts = {}
    yield counts
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{sum(counts.values())} examples of {len(counts)} methods")


@pytest.fixture
def share(request):
    return -(-request.config.getoption("--method-examples") // (len(METHODS) + len(OPERATORS)))


def compare(name, method, examples):
    """Call `method` and the one of bytearray with the same; answers how often."""
    made = 0

    @settings(max_examples=examples, database=None)
    @given(CONTENT, calls(*METHODS[name]))
    def check(content, call):
        nonlocal made
        made += 1
        arguments, named = call
        key, model = SecureBytes(content, heap=HEAP), bytearray(content)
        answer = outcome(lambda: method(key, *arguments, **named))
        expected = outcome(lambda: getattr(model, name)(*arguments, **named))
        assert told(answer) == foretold(expected)
        assert key == model
        assert answer is not key

    check()
    return made


@pytest.mark.parametrize("name", METHODS)
def test_a_method_does_what_it_does_of_a_bytearray(made, share, name):
    made[name] = compare(name, getattr(SecureBytes, name), share)


def test_every_method_that_both_have_is_compared():
    both = {name for name in dir(bytearray) if hasattr(SecureBytes, name) and not name.startswith("_")}
    assert both - set(METHODS) == {"fromhex"}  # test_securebytes.py compares it


BROKEN = {
    "find": lambda key, *rest: key.rfind(*rest),
    "split": lambda key, *rest, **named: key.split(*rest, **named)[:1],
    "copy": lambda key: key,
    "hex": lambda key, *rest, **named: bytes(key).hex(*rest, **named),
    "title": lambda key: key.capitalize(),
    "strip": lambda key, *rest: bytearray(key).strip(*rest),
    "index": lambda key, *rest: key.find(*rest),
    "join": lambda key, items: SecureBytes(b"").join(items),
    "reverse": lambda key: None,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_method_that_does_otherwise_is_found(name):
    """The positive control."""
    with pytest.raises(AssertionError):
        compare(name, BROKEN[name], 1_000)


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_does_what_it_does_of_a_bytearray(made, share, name):
    apply, argument = OPERATORS[name]

    @settings(max_examples=share)
    @given(CONTENT, argument.right | argument.wrong)
    def check(content, value):
        made[name] = made.get(name, 0) + 1
        key, model = SecureBytes(content, heap=HEAP), bytearray(content)
        answer = outcome(apply, key, value)
        expected = outcome(apply, model, bytes(value) if isinstance(value, SecureBytes) else value)
        assert told(answer) == foretold(expected)
        assert bytes(key) == content  # += too makes another object

    check()
