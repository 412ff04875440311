"""RevealedStr: a true `str` whose characters are in secret memory."""
import copy
import ctypes
import gc
import json
import marshal
import operator
import pickle
import re
import sys
import weakref

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import capi, maps
from support.children import succeed
from support.revealing import Str, assert_alike, blocks_of, check_whole, holds, outcome, reveal, small

from secalloc import Heap, HeapLimitError, ProtectedError, SecureBytes, WipedError

SECRET = "correct horse battery staple"
WIDER = ("p\u00e4ssword", "\u20ac 100", "key \U0001f511", "\udc80x")


@pytest.fixture
def heap():
    heap = Heap("revealing")
    yield heap
    gc.collect()
    assert heap.is_valid()
    assert heap.stats().live == 0


# --- what it is ---

@pytest.mark.parametrize("plain", [SECRET, "x", *WIDER, "a" * 100_000, "\u20ac" * 100_000], ids=len)
def test_it_is_a_str_of_secret_blocks_in_an_ordinary_header(heap, plain):
    text = reveal(plain, heap)
    assert type(text) is Str
    assert isinstance(text, str)
    assert_alike(plain, text)
    check_whole(text)
    assert not maps.mapping_at(id(text)).is_secret


@pytest.mark.parametrize("plain", WIDER[:3])
def test_c_code_that_asks_for_utf8_gets_it_from_secret_memory(plain):
    text, ordinary = reveal(plain), plain + "!"
    for each in (text, ordinary):
        assert ctypes.string_at(blocks_of(each)[1]).decode() == each
    assert maps.mapping_at(blocks_of(text)[1]).is_secret
    assert not maps.mapping_at(blocks_of(ordinary)[1]).is_secret  # the control


def test_the_type_is_final_and_makes_nothing():
    for make in (Str, lambda: Str("x"), lambda: Str.__new__(Str), lambda: str.__new__(Str, "x"),
                 lambda: type("Sub", (Str,), {})):
        with pytest.raises(TypeError):
            make()
    text = reveal(SECRET)
    with pytest.raises(AttributeError):
        text.name = 1
    with pytest.raises(TypeError):
        weakref.ref(text)
    assert not gc.is_tracked(text)
    assert sys.getsizeof(text) >= sys.getsizeof(SECRET)
    assert SecureBytes(b"").reveal_str() == ""


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_it_compares_and_hashes_as_str(plain, other):
    text = reveal(plain)
    for relation in (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge):
        for this in (other, plain, reveal(other), None, 5, b"bytes"):
            assert outcome(lambda: relation(text, this)) == outcome(lambda: relation(plain, this))  # noqa: B023
            assert outcome(lambda: relation(this, text)) == outcome(lambda: relation(this, plain))  # noqa: B023
    assert {plain: 1}[text] == 1
    assert {text: 1}[plain] == 1


def test_its_hash_is_not_kept_in_the_header():
    text = reveal(SECRET)
    kept = ctypes.c_ssize_t.from_address(id(text) + 24)
    assert hash(text) == hash(SECRET)
    assert kept.value == -1
    assert str.__hash__(text) == kept.value != -1  # the control; this cannot be stopped


# --- text from bytes ---

@given(st.binary(max_size=20) | st.text(max_size=12).map(str.encode),
       st.sampled_from(["utf-8", "ascii", "latin-1", "UTF8", "us-ascii", "iso-8859-1"]),
       st.sampled_from(["strict", "ignore", "replace", "surrogateescape"]))  # fmt: skip
@example(b"\xe2\x82", "utf-8", "replace")
@example(b"\xf0\x90\x80x\xed\xa0\x80\xf4\x90\xc0\xaf", "utf-8", "replace")
def test_it_decodes_as_python_does(data, encoding, errors):
    ours = outcome(lambda: SecureBytes(data).reveal_str(encoding, errors))
    theirs = outcome(lambda: data.decode(encoding, errors))
    assert ours == theirs
    if isinstance(ours, str) and ours:
        check_whole(ours)


@given(st.text(min_size=1, max_size=20), st.sampled_from(["utf-8", "ascii", "latin-1"]),
       st.sampled_from(["strict", "ignore", "replace", "surrogateescape"]))  # fmt: skip
@example("\udc80\udcff", "utf-8", "surrogateescape")
def test_it_encodes_as_python_does(plain, encoding, errors):
    ours, theirs = (outcome(lambda: each.encode(encoding, errors)) for each in (reveal(plain), plain))  # noqa: B023
    assert ours == theirs
    holds(ours)


def test_every_character_is_decoded_and_encoded():
    for first in range(0, 0x110000, 0x1000):
        plain = "".join(map(chr, range(first, first + 0x1000)))
        data = plain.encode("utf-8", "ignore")
        text = SecureBytes(data).reveal_str() if data else ""
        assert text == data.decode()
        assert text.encode() == data


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "idna", "unheard of"])
def test_a_codec_of_python_is_refused(encoding):
    with pytest.raises(LookupError):
        SecureBytes(b"text").reveal_str(encoding)
    with pytest.raises(LookupError):
        reveal("text").encode(encoding)


def test_an_error_handler_of_python_is_refused():
    for call in (SecureBytes(b"\xff").reveal_str, SecureBytes(b"\xff").reveal().decode, reveal("\u20ac").encode):
        with pytest.raises(LookupError):
            call("ascii", "backslashreplace")
        with pytest.raises(TypeError):
            call("ascii", 5)


def test_an_error_tells_the_place_and_nothing_of_the_text():
    with pytest.raises(UnicodeDecodeError, match="at byte 7") as decoding:
        SecureBytes(b"correct\xff").reveal_str()
    with pytest.raises(UnicodeEncodeError, match="at character 7") as encoding:
        reveal("correct\u20ac").encode("ascii")
    for error in (decoding.value, encoding.value):
        assert len(error.object) == 0
        assert "correct" not in str(error) + repr(error)
    assert "correct" in repr(UnicodeDecodeError("utf-8", b"correct\xff", 7, 8, ""))  # the control


# --- its methods, beside those of str ---

characters = st.sampled_from(
    "aAzZ \t\r\n\x0b\x1c\x85-+19\xe4\xc4\xdf\xb5\u0149\u01c5\u0130\u0131\u03a3\u03c3\u03c2'\u0301\xad\u2028\ufb03"
    "\u1f88\u20ac\u4e2d\U00010400\U0001f511"
) | st.characters()
some = st.one_of(st.text(characters, max_size=3), st.sampled_from([" ", "a", "ab", "-1"]))
texts = st.text(characters, min_size=1, max_size=30)
maybe = st.none() | some
TABLE = {97: "xyz", 65: 0x20ac, 32: None, 0x3a3: ""}
CALLS = {
    "strip": [maybe], "lstrip": [maybe], "rstrip": [maybe], "removeprefix": [some], "removesuffix": [some],
    "partition": [some], "rpartition": [some], "split": [maybe, small], "rsplit": [maybe, small],
    "splitlines": [st.booleans()], "replace": [some, some, small], "join": [st.lists(some, max_size=4)],
    "ljust": [st.integers(-1, 50), st.sampled_from([" ", "\u20ac", "", "xy"])],
    "rjust": [st.integers(-1, 50), st.just("0")], "center": [st.integers(-1, 50), st.just("\xe4")],
    "zfill": [st.integers(-1, 50)], "expandtabs": [small], "lower": [], "upper": [], "swapcase": [], "title": [],
    "capitalize": [], "casefold": [], "translate": [st.sampled_from([TABLE, {65: 1 << 30}, {65: 1.5}, []])],
    "__getitem__": [st.slices(20)], "__add__": [some], "__mul__": [small], "__rmul__": [small], "__str__": [],
    "count": [some], "find": [some], "rfind": [some], "index": [some], "rindex": [some], "startswith": [some],
    "endswith": [some], "isalnum": [], "isalpha": [], "isascii": [], "isdecimal": [], "isdigit": [], "isidentifier": [],
    "islower": [], "isnumeric": [], "isprintable": [], "isspace": [], "istitle": [], "isupper": [],
    "__contains__": [some], "__len__": [], "__iter__": [],
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
@given(data=st.data())
def test_a_method_answers_as_that_of_str_with_what_is_secret_revealed(name, data):
    plain = data.draw(texts)
    arguments = [data.draw(each) for each in CALLS[name]]
    text = reveal(plain.encode("utf-8", "replace").decode())
    plain = plain.encode("utf-8", "replace").decode()  # without lone surrogates
    ours = outcome(lambda: getattr(text, name)(*arguments))
    theirs = outcome(lambda: getattr(plain, name)(*arguments))
    if name == "__iter__":
        ours, theirs = "".join(ours), "".join(theirs)
        assert ours == theirs
        return
    assert_alike(theirs, ours)
    holds(ours, given=arguments)
    if type(ours) is Str:
        check_whole(ours)


def test_no_method_of_str_is_forgotten():
    """Each is tried above, or is of those that the other tests are about."""
    elsewhere = {"__getnewargs__", "__mod__", "__rmod__", "__hash__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__",
                 "__ge__", "__getattribute__", "__format__", "__sizeof__", "maketrans", "__doc__", "__new__",
                 "__repr__", "encode", "format", "format_map"}  # fmt: skip
    assert {name for name in vars(str) if name not in CALLS} <= elsewhere


def test_every_character_changes_case_as_in_str():
    """Alone, and beside a sigma, whose small letter depends on it."""
    for first in range(0, 0x110000, 0x800):
        plain = "".join(f"{chr(c)}\u03a3 {chr(c)}b" for c in range(first, first + 0x800) if not 0xd800 <= c < 0xe000)
        if plain:
            text = reveal(plain)
            for name in ("lower", "upper", "title", "swapcase", "capitalize", "casefold"):
                assert getattr(text, name)() == getattr(plain, name)(), (name, first)


@given(texts.filter(lambda text: text.isprintable()), some)
def test_operators_take_it_on_either_side(plain, other):
    plain, other = (each.encode("utf-8", "replace").decode() for each in (plain, other))
    text = reveal(plain)
    for ours, theirs in (
        (lambda: text + other, plain + other), (lambda: other + text, other + plain), (lambda: text * 3, plain * 3),
        (lambda: 2 * text, 2 * plain), (lambda: text + text, plain + plain), (lambda: text[1:-1], plain[1:-1]),
        (lambda: text[::-2], plain[::-2]),
    ):  # fmt: skip
        assert_alike(theirs, ours())
        holds(ours())


@pytest.mark.parametrize("call", [
    lambda text: text + b"bytes", lambda text: b"bytes" + text, lambda text: text + 5, lambda text: 5 + text,
    lambda text: text * 1.5, lambda text: text.strip(b"x"), lambda text: text.split(b"x"), lambda text: text.split(""),
    lambda text: text.join([1]), lambda text: text.join([b"x"]), lambda text: text.replace(1, 2),
    lambda text: text.center("x"), lambda text: text["x"], lambda text: text[10**30], lambda text: text * 10**30,
    lambda text: text.partition(""), lambda text: text.translate(5), lambda text: text[::0],
    lambda text: text.removeprefix(b"x"),
])  # fmt: skip
def test_bad_arguments_are_refused_as_str_refuses_them(call):
    theirs = outcome(lambda: call(SECRET))
    assert isinstance(theirs, type)
    assert outcome(lambda: call(reveal(SECRET))) is theirs


def test_a_method_of_the_type_takes_no_other_object():
    for stranger in (b"bytes", "text", reveal(b"bytes")):
        with pytest.raises(TypeError):
            Str.encode(stranger)


def test_bytes_become_text_in_secret_and_text_bytes():
    key = reveal(b"correct horse")
    assert_alike("correct horse", key.decode())
    assert_alike(b"correct horse", key.decode().encode())
    assert_alike(b"correct horse".hex(), key.hex())
    for made in (key.decode(), key.decode().encode(), key.hex()):
        check_whole(made)


def test_what_is_asked_for_already_is_itself():
    text = reveal(SECRET)
    assert str(text) is copy.copy(text) is copy.deepcopy(text) is f"{text}" is format(text) is text
    assert text[:] is text.strip() is text * 1 is text + "" is "" + text is text.replace("#", "") is text


# --- what does not leave ---

def test_no_representation_shows_it():
    text = reveal(SECRET)
    assert all("RevealedStr 28 characters" in shown for shown in (repr(text), f"{text!r}", f"{text!a}", repr([text])))


def test_it_is_not_pickled_nor_formatted():
    text = reveal(SECRET)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="ordinary copy"):
            pickle.dumps([text], protocol)
    with pytest.raises(ValueError, match="unmarshallable"):
        marshal.dumps(text)
    for call in (lambda: text % (), lambda: text.format(), lambda: text.format_map({}), lambda: f"{text:>40}"):
        with pytest.raises(TypeError, match="ordinary memory"):
            call()


def test_what_cannot_be_stopped_is_an_ordinary_copy():
    """C code that reads the characters, and str's own methods: docs/REVEAL.md has the list."""
    text = reveal(SECRET)
    for copied in (
        str.upper(text), "".join([text, ""]), "%s!" % text, f"{text}!", json.loads(json.dumps(text)),  # noqa: UP031
        re.sub("o", "o", text), str(bytes(str.encode(text)), "ascii"),
    ):  # fmt: skip
        assert type(copied) is str
        assert SECRET in copied.lower()


def test_it_is_never_interned():
    text = reveal("secalloc_name")
    with pytest.raises(TypeError):
        sys.intern(text)
    intern = ctypes.pythonapi.PyUnicode_InternInPlace
    pointer = ctypes.py_object(text)
    intern(ctypes.byref(pointer))
    assert pointer.value is text
    check_whole(text)


def test_as_a_name_it_is_kept_as_it_is_and_wiped_with_its_last_reference():
    class Namespace:
        pass

    def names(**named):
        return named

    text = reveal("secalloc_name")
    place, scope = Namespace(), {}
    before = sys.getrefcount(text)
    setattr(place, text, 1)
    scope[text] = 2
    exec("found = secalloc_name", scope)
    assert (getattr(place, text), place.secalloc_name, scope["found"]) == (1, 1, 2)
    assert names(**{text: 3}) == {"secalloc_name": 3}
    assert sys.getrefcount(text) > before
    check_whole(text)
    del place, scope
    gc.collect()
    assert sys.getrefcount(text) == before


def test_consumers_take_it():
    text = reveal(SECRET)
    assert re.fullmatch(r"[a-z ]+", text)
    assert int(reveal("12345")) == 12345
    assert float(reveal("1.5")) == 1.5
    assert len(text.encode()) == 28
    assert text in {SECRET}
    match text:
        case str(matched):
            assert matched is text


# --- its end, and its heap ---

@pytest.mark.parametrize("plain", [SECRET, *WIDER[:3]])
def test_the_last_reference_wipes_all_its_blocks(heap, plain):
    text = reveal(plain, heap)
    blocks = blocks_of(text)
    size = len(plain.encode())
    kept = [text]
    del text
    assert capi.read(blocks[1], size) == plain.encode()  # the control
    kept.clear()
    for block in blocks:
        assert capi.read(block, size) == bytes(size)


def test_thirty_two_characters_are_forty_eight_bytes(heap):
    secret = SecureBytes(b"x" * 32, heap=heap)
    texts = [secret.reveal_str() for _ in range(4096)]
    stats = heap.stats()
    assert stats.slot_bytes_live == 32 + 4096 * 33
    assert stats.committed < 4096 * 64
    assert texts[-1] == "x" * 32


def test_at_the_limit_of_the_heap_it_is_a_memory_error_and_nothing_is_left():
    heap = Heap("small", limit="256 KiB")
    secret = SecureBytes("\u20ac".encode() * 20_000, heap=heap)
    live = heap.stats().live
    with pytest.raises(HeapLimitError):  # 40 kB, then 60 kB
        [secret.reveal_str() for _ in range(10)]
    gc.collect()
    assert heap.stats().live == live
    assert heap.is_valid()
    assert secret.reveal_str() == "\u20ac" * 20_000


@pytest.mark.parametrize("backend", ["secretmem", "mlock"])
def test_it_lies_where_its_heap_lies(backend):
    secret = SecureBytes("p\u00e4ssword".encode(), heap=Heap("own", backend=backend))
    text = secret.reveal_str()
    for found in (text, text[1:5], text + "x", text.upper()):
        assert {maps.backend_at(block) for block in blocks_of(found)} == {backend}


def test_a_secret_that_cannot_be_read_is_not_revealed(heap):
    wiped = SecureBytes(b"text", heap=heap)
    wiped.wipe()
    with pytest.raises(WipedError):
        wiped.reveal_str()
    secret = SecureBytes(b"text", heap=heap)
    text = secret.reveal_str()
    with pytest.raises(BufferError, match="revealed"):
        heap.lock()
    del text
    heap.lock()
    with pytest.raises(ProtectedError):
        secret.reveal_str()
    with heap.unlocked():
        text = secret.reveal_str()
    assert text == "text"
    del text
    heap.unlock()


def test_a_codec_that_wipes_the_secret_when_it_is_looked_up_gets_nothing():
    succeed(
        """
        import codecs
        from secalloc import SecureBytes, WipedError
        secret = SecureBytes(b"text")
        def search(name):
            secret.wipe()
            return codecs.lookup("ascii") if name == "sneaky" else None
        codecs.register(search)
        try:
            secret.reveal_str("sneaky")
        except WipedError:
            print("refused")
        """
    )


if sys.version_info < (3, 12):  # the last to have it

    def test_the_wide_copy_that_3_11_keeps_is_wiped_with_it():
        succeed(
            """
            import ctypes
            from secalloc import SecureBytes
            wide = ctypes.pythonapi.PyUnicode_AsUnicode
            wide.restype, wide.argtypes = ctypes.c_void_p, [ctypes.py_object]
            text = SecureBytes(b"correct horse").reveal_str()
            address = wide(text)
            assert ctypes.wstring_at(address, 13) == "correct horse"
            del text
            assert "horse".encode("utf-32-le") not in ctypes.string_at(address, 13 * 4)
            """,
            environment={"PYTHONWARNINGS": "ignore", "PYTHONMALLOC": "malloc"},
        )
