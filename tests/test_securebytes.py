"""Layer 4: a SecureBytes does what a bytearray of fixed size does, on secret pages, until it is wiped."""
import array
import copy
import ctypes
import gc
import operator
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import capi, maps
from support.children import succeed
from support.fixtures import nothing_leaks  # noqa: F401
from support.oracle import outcome

import secalloc
from secalloc import Heap, SecureBytes, WipedError

INDICES = st.integers(-20, 20)
ENDS = st.none() | INDICES | st.sampled_from([2**63 - 1, -(2**63), 2**70, -(2**70)])
SLICES = st.builds(slice, ENDS, ENDS, ENDS)
SECRET = b"correct horse battery staple"


# --- where the bytes are ---


@pytest.mark.parametrize("size", [1, 32, 5_000, 100_000])
def test_the_bytes_lie_on_secret_pages_and_a_bytearray_s_do_not(size):
    key = SecureBytes(size)
    plain = bytearray(size)
    assert maps.mapping_at(capi.address_of(key)).is_secret
    assert not maps.mapping_at(capi.address_of(plain)).is_secret
    assert key.backend == maps.backend_at(capi.address_of(key))


def test_the_bytes_are_zero_once_the_object_is_dropped():
    key = SecureBytes(SECRET)
    address = capi.address_of(key)
    assert capi.read(address, len(SECRET)) == SECRET  # the control: this is where they are
    del key
    gc.collect()
    assert capi.read(address, len(SECRET)) == bytes(len(SECRET))


def test_a_heap_of_one_s_own_holds_the_bytes_and_all_that_is_made_of_them():
    heap = Heap("own")
    key = SecureBytes(SECRET, heap=heap)
    made = [key, key[2:9], key[::2], key.copy(), copy.deepcopy(key)]
    made += [SecureBytes.random(5, heap=heap), SecureBytes.fromhex("00ff", heap=heap)]
    made += [SecureBytes.take(bytearray(4), heap=heap), SecureBytes("text", "utf-8", heap=heap)]
    made += [SecureBytes.from_file("/dev/null", heap=heap), SecureBytes(heap=heap)]
    assert all(each.heap is heap for each in made)
    assert heap.stats().live == len(made)
    assert SecureBytes(1).heap.name == "default"


@pytest.mark.parametrize("heap", ["default", 1, object()])
def test_a_heap_must_be_a_heap(heap):
    for make in (SecureBytes, SecureBytes.random, SecureBytes.fromhex, SecureBytes.take, SecureBytes.from_file):
        with pytest.raises(TypeError, match=r"heap must be a secalloc\.Heap"):
            make(bytearray(b"00") if make is not SecureBytes.random else 2, heap=heap)


# --- ways in ---


@pytest.mark.parametrize("size", [0, 1, 7, 8, 16, 100, 16_392, 16_393, 200_000])
def test_a_size_makes_that_many_zeros(size):
    assert bytes(SecureBytes(size)) == bytes(size)
    assert len(SecureBytes(size)) == size


def test_no_argument_makes_no_bytes():
    assert bytes(SecureBytes()) == b""
    assert not SecureBytes()


def test_an_object_with_an_index_is_a_size():
    class Three:
        def __index__(self):
            return 3

    assert bytes(SecureBytes(Three())) == bytearray(Three()) == bytes(3)
    assert len(SecureBytes(True)) == 1


@pytest.mark.parametrize(
    "source",
    [
        b"", SECRET, bytearray(SECRET), memoryview(SECRET), memoryview(SECRET)[::-2], array.array("i", [1, -2, 3]),
        (ctypes.c_uint16 * 3)(1, 2, 3), memoryview(bytes(range(24))).cast("B", (2, 3, 4)), b"x" * 100_000,
    ],
    ids=["none", "bytes", "bytearray", "view", "strides", "array", "ctypes", "shape", "large"],
)  # fmt: skip
def test_any_buffer_is_copied_as_bytes_copies_it(source):
    key = SecureBytes(source)
    assert bytes(key) == bytes(source)


def test_the_source_of_a_copy_stays_as_it_was():
    source = bytearray(SECRET)
    key = SecureBytes(source)
    key[0] = 0
    assert source == SECRET


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["utf-8", "utf-16", "utf-32-le"]))
def test_text_is_encoded_as_bytes_encodes_it(text, encoding):
    assert bytes(SecureBytes(text, encoding)) == text.encode(encoding)


@pytest.mark.parametrize("arguments", [("\u20ac", "ascii"), ("x", "no such codec"), ("x", 5), ("\ud800", "utf-8"),
                                       ("x",), ("x", "utf-8", 7), (b"x", "utf-8"), (5, None, "strict")])  # fmt: skip
def test_text_that_cannot_be_encoded_is_the_error_of_bytearray(arguments):
    assert outcome(SecureBytes, *arguments) == outcome(bytearray, *arguments)
    assert outcome(SecureBytes, *arguments) in (UnicodeEncodeError, LookupError, TypeError)


def test_an_error_handler_is_used():
    assert SecureBytes("a\u20acb", "ascii", "replace") == b"a?b"
    assert SecureBytes("a\u20acb", encoding="ascii", errors="ignore") == b"ab"


@pytest.mark.parametrize("text", ["", "k", "\xe9", "A", " "])
def test_encoding_short_text_leaves_shared_objects_of_the_interpreter_alone(text):
    """One-byte bytes objects are shared by all Python: wiping one would change the language."""
    expected = bytearray(text.encode("latin-1"))
    assert SecureBytes(text, "latin-1") == expected
    assert text.encode("latin-1") == expected


def test_random_bytes_have_the_size_asked_for_and_differ():
    assert [len(SecureBytes.random(size)) for size in (0, 1, 32, 100_000)] == [0, 1, 32, 100_000]
    assert len({bytes(SecureBytes.random(16)) for _ in range(100)}) == 100
    assert set(bytes(SecureBytes.random(20_000))) == set(range(256))


@given(st.binary(max_size=40), st.sampled_from(["", " ", "\t\n", "  \r\v\f"]))
def test_hex_is_read_as_bytearray_reads_it(data, space):
    digits = space.join(f"{byte:02x}" for byte in data) + space
    assert bytes(SecureBytes.fromhex(digits)) == bytearray.fromhex(digits) == data
    assert bytes(SecureBytes.fromhex(digits.upper().encode())) == data


@given(st.text("0123456789abcdefABCDEF xg", max_size=12))
def test_bad_hex_is_refused_where_bytearray_refuses_it(digits):
    assert outcome(SecureBytes.fromhex, digits) == outcome(bytearray.fromhex, digits)


@pytest.mark.parametrize("digits", ["abc", "0", "0x00", "gg", "0 0", "00 f", "\uff11\uff11", "00\u20ac", "s3cret-s3c"])
def test_bad_hex_is_an_error_that_does_not_quote_it(digits):
    with pytest.raises(ValueError, match="non-hexadecimal") as caught:
        SecureBytes.fromhex(digits)
    assert len(digits) < 3 or digits not in str(caught.value)


WRITABLE = {
    "bytearray": bytearray, "array": lambda data: array.array("B", data), "SecureBytes": SecureBytes,
    "memoryview": lambda data: memoryview(bytearray(data)),
    "ctypes": lambda data: ctypes.create_string_buffer(data, len(data)),
}  # fmt: skip


@pytest.mark.parametrize("make", WRITABLE.values(), ids=WRITABLE)
def test_take_copies_and_wipes_its_source(make):
    source = make(SECRET)
    assert bytes(memoryview(source)) == SECRET
    assert SecureBytes.take(source) == SECRET
    assert bytes(memoryview(source)) == bytes(len(SECRET))


def test_take_of_nothing_is_nothing():
    assert bytes(SecureBytes.take(bytearray())) == b""


@pytest.mark.parametrize("source", [SECRET, memoryview(SECRET), memoryview(bytearray(9))[::2], "text", 5, None, [1]])
def test_take_refuses_what_it_could_not_wipe(source):
    with pytest.raises(TypeError):
        SecureBytes.take(source)


# --- bad input ---


@pytest.mark.parametrize("source", [None, 1.5, object(), {}, 2j, "text"])
def test_a_wrong_type_is_a_type_error(source):
    with pytest.raises(TypeError):
        SecureBytes(source)
    with pytest.raises(TypeError):
        SecureBytes.random(source)


@pytest.mark.parametrize("make", [SecureBytes, SecureBytes.random])
def test_a_negative_size_is_a_value_error(make):
    for size in (-1, -(2**63)):
        with pytest.raises(ValueError, match="negative count"):
            make(size)


@pytest.mark.parametrize("make", [SecureBytes, SecureBytes.random])
@pytest.mark.parametrize("size", [2**40, 2**62, 2**63 - 1])
def test_an_absurd_size_is_a_memory_error_that_names_it(make, size):
    with pytest.raises(secalloc.AllocationError, match=f"{size} bytes") as caught:
        make(size)
    assert isinstance(caught.value, MemoryError)


@pytest.mark.parametrize("make", [SecureBytes, SecureBytes.random])
@pytest.mark.parametrize("size", [2**63, 2**64, -(2**64), 10**100])
def test_a_size_that_no_machine_word_holds_is_an_overflow_error(make, size):
    with pytest.raises(OverflowError):
        make(size)


# --- as a sequence ---


@given(st.binary(max_size=16), INDICES)
def test_an_index_reads_what_it_reads_of_a_bytearray(data, i):
    assert outcome(SecureBytes(data).__getitem__, i) == outcome(bytearray(data).__getitem__, i)


@given(st.binary(max_size=16), SLICES)
def test_a_slice_reads_what_it_reads_of_a_bytearray(data, part):
    got = outcome(SecureBytes(data).__getitem__, part)
    assert got == outcome(bytearray(data).__getitem__, part)
    assert got is ValueError or type(got) is SecureBytes


@given(st.binary(max_size=16), INDICES, st.integers(-2, 257) | st.sampled_from([2**63, -(2**64), "x", None, 1.0]))
def test_an_index_writes_what_it_writes_to_a_bytearray(data, i, value):
    key, plain = SecureBytes(data), bytearray(data)
    assert outcome(key.__setitem__, i, value) == outcome(plain.__setitem__, i, value)
    assert key == plain


@given(st.binary(max_size=16), SLICES, st.binary(max_size=16))
def test_a_slice_writes_what_it_writes_to_a_bytearray_of_fixed_size(data, part, value):
    key, plain = SecureBytes(data), bytearray(data)
    if part.step == 0 or len(value) != len(plain[part]):
        with pytest.raises(ValueError, match=r"fixed size|zero"):
            key[part] = value
    else:
        key[part] = plain[part] = value
    assert key == plain


@given(st.binary(max_size=16), SLICES)
def test_a_slice_of_itself_may_be_assigned_to_it(data, part):
    key, plain = SecureBytes(data), bytearray(data)
    if part.step != 0:
        key[part] = key[part]
        assert key == plain
        key[:] = key[::-1]
        assert key == plain[::-1]


@pytest.mark.parametrize("index", [1.0, "0", None, b"0", (0, 1), 2**64])
def test_an_index_of_a_wrong_type_or_beyond_all_is_the_error_of_bytearray(index):
    assert outcome(SecureBytes(4).__getitem__, index) == outcome(bytearray(4).__getitem__, index)
    assert outcome(SecureBytes(4).__setitem__, index, 1) == outcome(bytearray(4).__setitem__, index, 1)


def test_bytes_cannot_be_deleted():
    key = SecureBytes(b"abc")
    for part in (0, slice(1, 2), slice(None)):
        with pytest.raises(TypeError, match="fixed size"):
            del key[part]
    assert key == b"abc"


@given(st.binary(max_size=40))
def test_an_item_asked_for_from_c_is_counted_from_the_end_once(data):
    item = ctypes.pythonapi.PySequence_GetItem
    item.argtypes, item.restype = [ctypes.py_object, ctypes.c_ssize_t], ctypes.py_object
    for i in range(-2 * len(data) - 1, 2 * len(data) + 1):
        assert outcome(item, SecureBytes(data), i) == outcome(item, bytearray(data), i)


@given(st.binary(max_size=40))
def test_iterating_answers_what_it_answers_of_a_bytearray(data):
    key = SecureBytes(data)
    assert list(key) == list(data)
    assert list(reversed(key)) == list(reversed(data))
    assert [byte in key for byte in range(256)] == [byte in data for byte in range(256)]
    assert bool(key) == bool(data)


# --- equality ---


@given(st.binary(max_size=24), st.binary(max_size=24))
def test_equality_is_that_of_bytearray(one, other):
    for b in (bytes(other), bytearray(other), memoryview(other), SecureBytes(other)):
        assert (SecureBytes(one) == b) == (b == SecureBytes(one)) == (one == other)
        assert (SecureBytes(one) != b) == (one != other)
    assert SecureBytes(one) == one


@pytest.mark.parametrize("size", [1, 7, 8, 9, 64, 1_000])
def test_a_difference_in_any_one_bit_is_seen(size):
    key = SecureBytes.random(size)
    other = key.copy()
    assert key == other
    for i in range(size):
        other[i] ^= 1 << i % 8
        assert key != other
        other[i] = key[i]


@pytest.mark.parametrize("other", ["abcd", 4, None, 4.0, [97, 98, 99, 100], object()])
def test_it_equals_nothing_that_has_no_buffer(other):
    assert SecureBytes(b"abcd") != other
    assert other != SecureBytes(b"abcd")
    assert (SecureBytes(b"abcd") == other) is False


def test_it_equals_a_buffer_of_any_layout_with_the_same_bytes():
    key = SecureBytes(b"abcdef")
    assert key == memoryview(b"fedcba")[::-1]
    assert key == memoryview(b"abcdef").cast("B", (2, 3))
    assert key == array.array("B", b"abcdef")
    assert key != memoryview(b"abcdef")[::-1]


def test_it_equals_a_buffer_that_tells_no_strides():
    """As ctypes arrays. In a process of its own."""
    succeed(
        """
        import ctypes, secalloc
        key = secalloc.SecureBytes(b"abcd")
        assert key == (ctypes.c_char * 4)(*b"abcd") and (ctypes.c_char * 4)(*b"abcd") == key
        assert key != (ctypes.c_char * 4)(*b"abcx")
        """
    )


def test_it_equals_no_buffer_that_cannot_be_had():
    view = memoryview(b"abcd")
    view.release()
    assert bytearray(b"abcd") != view
    assert SecureBytes(b"abcd") != view


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
@pytest.mark.parametrize("other", [SecureBytes, bytes, bytearray, int])
def test_it_has_no_order(compare, other):
    """Nor does it leave the comparison to the other, which a bytearray would make."""
    with pytest.raises(TypeError, match="no order"):
        compare(SecureBytes(4), other(4))


# --- the buffer ---


def test_the_buffer_is_flat_writable_bytes():
    key = SecureBytes(SECRET)
    view = memoryview(key)
    assert (view.nbytes, view.format, view.ndim, view.readonly) == (len(SECRET), "B", 1, False)
    assert view.tobytes() == SECRET
    view[0] = ord("C")
    assert key[0] == ord("C")


def test_a_buffer_keeps_the_object_alive():
    view = memoryview(SecureBytes(SECRET))
    gc.collect()
    assert view.tobytes() == SECRET


def test_an_empty_object_has_an_empty_buffer():
    assert memoryview(SecureBytes(0)).tobytes() == b""


# --- copies ---


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, SecureBytes.copy, SecureBytes])
def test_a_copy_is_a_secret_of_its_own(duplicate):
    key = SecureBytes(SECRET)
    other = duplicate(key)
    assert type(other) is SecureBytes
    assert other == key
    assert other is not key
    other[0] = 0
    assert key == SECRET
    key.wipe()
    assert other[1:] == SECRET[1:]


def test_bytes_is_the_way_to_an_ordinary_copy():
    plain = bytes(SecureBytes(SECRET))
    assert type(plain) is bytes
    assert plain == SECRET


# --- what it does not tell ---


@pytest.mark.parametrize("show", [repr, str, format, "{}".format, "%s".__mod__, "%r".__mod__, ascii], ids=str)
def test_no_way_to_print_it_shows_the_bytes(show):
    shown = show(SecureBytes(SECRET))
    assert shown == f"<SecureBytes {len(SECRET)} bytes>"
    assert "correct" in show(SECRET) if show is not format else True  # the control: an ordinary copy is shown


def test_printing_it_within_a_container_or_a_traceback_does_not_show_the_bytes():
    key = SecureBytes(SECRET)
    assert "correct" not in f"{[key]} {({'key': key})} {(key,)!r}"
    with pytest.raises(KeyError) as caught:
        {}[id(key)] or key
    assert "correct" not in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_is_not_pickled(protocol):
    assert pickle.dumps(bytearray(SECRET), protocol)
    with pytest.raises(TypeError, match=r"secalloc\.sharing"):
        pickle.dumps(SecureBytes(SECRET), protocol)


def test_a_heap_is_not_pickled():
    with pytest.raises(TypeError):
        pickle.dumps(Heap("own"))


def test_it_is_not_hashable():
    with pytest.raises(TypeError, match="unhashable"):
        hash(SecureBytes(4))


def test_it_takes_no_attributes_and_no_subclass():
    with pytest.raises(AttributeError):
        SecureBytes(4).note = SECRET
    with pytest.raises(TypeError):
        type("Sub", (SecureBytes,), {})


def test_its_size_in_memory_counts_the_secret_bytes():
    assert sys.getsizeof(SecureBytes(1_000)) - sys.getsizeof(SecureBytes(0)) == 1_000


# --- wipe ---


def test_wiping_zeroes_the_bytes_at_once():
    key = SecureBytes(SECRET)
    address = capi.address_of(key)
    assert capi.read(address, len(SECRET)) == SECRET
    key.wipe()
    assert capi.read(address, len(SECRET)) == bytes(len(SECRET))
    assert key.wiped
    assert repr(key) == "<SecureBytes wiped>"
    key.wipe()


def test_wiping_again_zeroes_what_was_written_through_a_view_since():
    key = SecureBytes(b"secret")
    view = memoryview(key)
    key.wipe()
    view[2] = 7
    assert bytes(view) == bytes([0, 0, 7, 0, 0, 0])
    key.wipe()
    assert bytes(view) == bytes(6)


def test_wiping_zeroes_the_bytes_under_a_view_and_frees_them_when_the_last_view_goes():
    live = secalloc.stats().live
    key = SecureBytes(SECRET)
    views = [memoryview(key), memoryview(key)[3:9]]
    key.wipe()
    assert views[0].tobytes() == bytes(len(SECRET))
    assert secalloc.stats().live == live + 1
    views[0].release()
    assert views[1].tobytes() == bytes(6)
    assert secalloc.stats().live == live + 1
    views.clear()
    assert secalloc.stats().live == live
    assert key.wiped


def test_a_with_block_wipes_at_its_end_errors_included():
    with SecureBytes(SECRET) as key:
        assert key == SECRET
        assert not key.wiped
    assert key.wiped
    with pytest.raises(ZeroDivisionError), SecureBytes(SECRET) as key:
        _ = 1 / 0
    assert key.wiped


USES = {
    "len": len, "index": lambda key: key[0], "slice": lambda key: key[1:], "empty slice": lambda key: key[9:],
    "item assignment": lambda key: key.__setitem__(0, 1),
    "slice assignment": lambda key: key.__setitem__(slice(1), b"x"),
    "equality": lambda key: key == b"x", "equality from the right": lambda key: SecureBytes(4) == key,
    "inequality": lambda key: key != b"x", "iteration": list, "membership": lambda key: 5 in key, "bytes": bytes,
    "memoryview": memoryview, "copy": copy.copy, "deepcopy": copy.deepcopy, "copy method": SecureBytes.copy,
    "construction": SecureBytes, "take": SecureBytes.take, "truth": bool, "reversed": lambda key: list(reversed(key)),
    "with": lambda key: key.__enter__(), "fromhex": SecureBytes.fromhex, "negative index": lambda key: key[-1],
    "an index beyond": lambda key: key[99],
}  # fmt: skip


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_use_after_wiping_is_a_wiped_error(use):
    key = SecureBytes(b"abcd")
    key.wipe()
    with pytest.raises(WipedError) as caught:
        use(key)
    assert isinstance(caught.value, ValueError)


@given(st.binary(max_size=40), st.one_of(st.binary(max_size=3), st.integers(-1, 300)))
def test_containment_is_that_of_bytearray(content, item):
    with SecureBytes(content) as key:
        assert outcome(lambda: item in key) == outcome(lambda: item in bytearray(content))
