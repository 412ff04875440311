"""What `reveal` and `reveal_str` answer, beside the bytes and the str that they are to be.

What holds content is revealed itself, in the same heap; the object itself where nothing changes; empty, the ordinary
one.
"""
import codecs
import copy
import operator
import re

from hypothesis import given, note
from hypothesis import strategies as st

from fuzz.behaviour import kind, saw, size
from fuzz.compare import alike, is_error, outcome
from fuzz.values import CONTENT, ENDS, SLICES, SMALL, SOME, TEXT
from fuzz.ways import Ways
from secalloc import Heap, SecureBytes
from secalloc_ext.heapobject import DEFAULT

HEAP = Heap("revealed")
HEAPS = (DEFAULT, HEAP)
BYTES = type(SecureBytes(b"x", heap=HEAP).reveal())
STR = type(SecureBytes(b"x", heap=HEAP).reveal_str())
CODECS = st.sampled_from(["utf-8", "UTF8", "ascii", "latin-1", "iso-8859-1", "us-ascii", "utf_8"])
HANDLERS = st.sampled_from(["strict", "ignore", "replace", "surrogateescape", "surrogatepass"])
NO_CODECS = st.sampled_from(["utf-16", "no such", "idna", "\0", "hex"])
LETTERS = ("aAzZ 09\t\r\n-+\x0b\x1c\x85\xa0\xb5\xdf\xe9\xff"
           "\u0130\u0131\u01c5\u03a3\u0660\u20ac\u2028\ufb01\U0001f600\U00010400")  # fmt: skip
LIVELY = st.text(st.sampled_from(LETTERS), max_size=30) | TEXT
FEW = st.text(st.sampled_from(LETTERS), max_size=2)
NOT = st.sampled_from([None, 5, 1.5, object])
way = Ways()


def same(name, ours, theirs, about, given=()):
    answer, expected = outcome(ours), outcome(theirs)
    saw(name, type(about).__name__, kind(answer), size(len(about)))
    note(f"{name}: {answer!r:.100}, expected {expected!r:.200}")
    if is_error(expected) or is_error(answer):
        assert is_error(answer), f"{name} answered, where there is an error"
        assert is_error(expected), f"{name} raised {answer.__name__}"
        assert issubclass(answer, expected), f"{name} raised {answer.__name__}, not {expected.__name__}"
    else:
        compare(name, answer, expected, given)
    return answer


def compare(name, answer, expected, given=()):
    """`given`: arguments, which may be part of the answer as they are."""
    if isinstance(expected, list | tuple):
        assert type(answer) is type(expected)
        assert len(answer) == len(expected), f"{name} answered more or less"
        for one, other in zip(answer, expected, strict=True):
            compare(name, one, other, given)
        return
    assert isinstance(answer, type(expected)), f"{name} answered a {type(answer).__name__}"
    assert answer == expected, f"{name} answered something else"
    if isinstance(expected, bytes | str) and expected and not any(answer is each for each in given):
        assert type(answer) is (BYTES if isinstance(expected, bytes) else STR), f"{name} answered an ordinary copy"
        if isinstance(expected, bytes):
            assert [*answer] == [*expected]  # item by item, not by our own comparison
        else:
            assert [*map(ord, answer)] == [*map(ord, expected)]


BOTH = {
    "strip": "?", "lstrip": "?", "rstrip": "?", "removeprefix": "s", "removesuffix": "s", "partition": "s",
    "rpartition": "s", "split": "?n", "rsplit": "?n", "splitlines": "b", "replace": "ssn", "join": "l", "ljust": "nc",
    "rjust": "nc", "center": "nc", "zfill": "n", "expandtabs": "n", "lower": "", "upper": "", "swapcase": "",
    "title": "",
    "capitalize": "", "count": "see", "find": "see", "rfind": "see", "index": "see", "rindex": "see",
    "startswith": "se",
    "endswith": "se", "isalnum": "", "isalpha": "", "isascii": "", "isdigit": "", "islower": "", "isspace": "",
    "istitle": "", "isupper": "", "item": "i", "[:]": "S", "*": "n", "n *": "n", "+": "s", "in": "s", "==": "s",
    "!=": "s",
    "<": "s", ">=": "s", "hash": "",
}  # fmt: skip
OPERATORS = {
    "[:]": operator.getitem, "*": operator.mul, "n *": lambda subject, times: times * subject, "+": operator.add,
    "in": operator.contains, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">=": operator.ge, "hash": hash,
}  # fmt: skip
OF_ONE = {True: {"hex": "hn", "decode": "dH"},
          False: {"encode": "dH", "casefold": "", "isdecimal": "", "isidentifier": "", "isnumeric": "",
                  "isprintable": ""}}  # fmt: skip


def arguments(form, few):
    """Of a method, by a letter each; `few`: contents. At most one is wrong."""
    kinds = {"?": st.none() | few, "s": few, "n": SMALL, "b": st.booleans(), "l": st.lists(few, max_size=4), "e": ENDS,
             "c": few, "i": st.integers(-40, 40), "S": SLICES, "h": st.sampled_from([":", b"-", "", "ab"]),
             "d": CODECS | NO_CODECS, "H": HANDLERS}  # fmt: skip
    right = st.tuples(*[kinds[letter] for letter in form])
    # A truth may be anything in newer Pythons.
    wrong = [st.tuples(*[NOT if i == j else kinds[letter] for j, letter in enumerate(form)])
             for i in range(len(form)) if form[i] not in "b?eS"]  # fmt: skip
    return st.one_of([right] * 4 + wrong)


def calls(is_bytes):
    few = SOME if is_bytes else FEW
    return st.one_of(
        [st.tuples(st.just(name), arguments(form, few)) for name, form in (BOTH | OF_ONE[is_bytes]).items()]
    )


def call(secret, plain, step):
    name, given = step
    if not hasattr(plain, name) and name not in OPERATORS and name != "item":
        return None  # of the other type: what came before was `hex`, `encode` or `decode`
    if name in ("decode", "encode") and given[0] in ("utf-16", "no such", "idna", "\0", "hex"):
        return outcome(getattr(secret, name), *given)  # Python's own, or none
    if name == "item":
        # a character is an ordinary one
        return alike(name, lambda: secret[given[0]], lambda: plain[given[0]], len(plain))
    function = OPERATORS.get(name) or (lambda subject, *rest: getattr(subject, name)(*rest))
    parts = [part for each in given if isinstance(each, list) for part in each]
    return same(name, lambda: function(secret, *given), lambda: function(plain, *given), plain, [*given, *parts])


def go_on_with(answer, otherwise):
    """What the next steps are about: a part, where it holds something."""
    for each in answer if isinstance(answer, list | tuple) else [answer]:
        if type(each) in (BYTES, STR):
            return each
    return otherwise


@way(CONTENT, st.lists(calls(True), max_size=5))
def of_bytes(content, steps):
    secret = SecureBytes(content, heap=HEAP).reveal()
    compare("reveal", secret, content)
    if secret:  # else it is the ordinary one
        walk(secret, content, steps)


@way(LIVELY, CODECS, HANDLERS, st.lists(calls(False), max_size=5))
def of_str(text, codec, handler, steps):
    encoded = text.encode("utf-8", "surrogatepass")
    secret = same(f"reveal_str {codec} {handler}", lambda: SecureBytes(encoded, heap=HEAP).reveal_str(codec, handler),
                  lambda: encoded.decode(codec, handler), encoded)  # fmt: skip
    if not is_error(secret) and secret:
        walk(secret, encoded.decode(codec, handler), steps)


@way(CONTENT, CODECS | NO_CODECS, HANDLERS | st.sampled_from(["backslashreplace", "no such"]))
def decoded(content, codec, handler):
    """Any bytes by any codec: Python's answer, or a refusal of what is not ours."""
    answer = outcome(lambda: SecureBytes(content, heap=HEAP).reveal_str(codec, handler))
    expected = outcome(lambda: content.decode(codec, handler))
    saw("decoded", codec, handler, kind(answer), kind(expected))
    if not is_error(answer):
        compare("decoded", answer, expected)
    else:
        assert is_error(expected) or issubclass(answer, LookupError)


def walk(secret, plain, steps):
    for step in steps:
        answer = call(secret, plain, step)
        following = go_on_with(answer, secret)
        if following is not secret:
            plain = (
                type(plain)(plain_of(following))
                if isinstance(plain, type(plain_of(following)))
                else plain_of(following)
            )
            secret = following
    ask(secret, plain)


def plain_of(revealed):
    """An ordinary copy, item by item."""
    return bytes([*revealed]) if isinstance(revealed, bytes) else "".join(map(chr, map(ord, revealed)))


def ask(secret, plain):
    """What Python does with any bytes or str."""
    assert secret == plain
    assert plain == secret
    assert hash(secret) == hash(plain)
    assert {plain: 1}[secret] == 1
    assert len(secret) == len(plain)
    if plain:
        assert secret is copy.copy(secret) is copy.deepcopy(secret) is type(plain)(secret)
        assert repr(plain) not in repr(secret)
    if isinstance(plain, bytes):
        assert memoryview(secret) == plain
        assert bytearray(secret) == plain
        assert re.escape(secret) == re.escape(plain)
        for codec in ("hex", "base64", "utf-16"):
            assert outcome(codecs.decode, secret, codec) == outcome(codecs.decode, plain, codec)
    else:
        assert f"{secret}!" == f"{plain}!"
        assert "".join([secret, "!"]) == plain + "!"
        assert operator.lt(secret, "m") == operator.lt(plain, "m")
        assert re.split("[0a]", secret) == re.split("[0a]", plain)


@given(way.lists(3))
def check(steps):
    for step in steps:
        way.go(step)
