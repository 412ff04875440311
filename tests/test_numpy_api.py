"""Layer 5: numpy's own signatures, on secret pages: whatever numpy's function makes, and refuses, ours does too."""
import gc
import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import capi, maps
from support.children import succeed
from support.fixtures import nothing_leaks  # noqa: F401

import secalloc.numpy as snp
from secalloc import Heap, ProtectedError, SecureBytes, WipedError

NUMPY_2 = np.lib.NumpyVersion(np.__version__) >= "2.0.0"
ALIKE = [name for name in snp.__all__ if hasattr(np, name) and name != "random"]
OURS = {"heap", "guarded"}
DTYPES = st.one_of(
    hnp.integer_dtypes(endianness="?"), hnp.floating_dtypes(endianness="?"), hnp.complex_number_dtypes(),
    hnp.boolean_dtypes(), hnp.byte_string_dtypes(), hnp.unicode_string_dtypes(), hnp.datetime64_dtypes(),
    hnp.array_dtypes(max_size=3),
)  # fmt: skip
SHAPES = hnp.array_shapes(min_dims=0, min_side=0, max_side=9)
ORDERS = st.sampled_from("CF")


def data_of(a):
    return a.__array_interface__["data"][0]


def alike(made, plain):
    assert type(made) is type(plain)
    assert (made.shape, made.dtype, made.strides) == (plain.shape, plain.dtype, plain.strides)
    assert made.flags.owndata >= plain.flags.owndata  # of structured scalars numpy's array is a view
    assert made.tobytes() == plain.tobytes()
    assert snp.is_secret(made)
    assert data_of(made) % 64 == 0


def result(call, *arguments, **named):
    """What it answers, or the type of what it raises."""
    try:
        return call(*arguments, **named)
    except Exception as error:
        return type(error)


# --- the same arguments ---


def signature(function):
    """Names and kinds of parameters; of numpy's functions in C, where their text says them."""
    return {name: each.kind for name, each in inspect.signature(function).parameters.items()}


def test_the_functions_are_those_of_numpy_of_the_same_name():
    assert set(ALIKE) == {
        "arange", "array", "asarray", "copy", "empty", "empty_like", "frombuffer", "fromfile", "full", "full_like",
        "load", "ones", "ones_like", "save", "zeros", "zeros_like",
    }  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_a_function_takes_the_arguments_of_numpy_s(name):
    try:
        theirs = signature(getattr(np, name))
    except ValueError:  # numpy's functions in C have a signature from 2.4 on; the others are looked at in any numpy
        theirs = {}
    ours = signature(getattr(snp, name))
    missing = set(theirs) - set(ours) - {"ndmax", "fix_imports"}  # of 2.4, about objects; about pickles
    assert missing == set()
    assert "heap" in ours
    shared = [each for each in ours if each in theirs]
    assert shared == [each for each in theirs if each in ours]
    if NUMPY_2:
        assert set(ours) - set(theirs) <= OURS or not theirs


# --- the same results ---


@given(SHAPES, DTYPES, ORDERS)
def test_arrays_by_shape_are_as_numpy_s(shape, dtype, order):
    for name in ("zeros", "ones"):
        alike(getattr(snp, name)(shape, dtype, order), getattr(np, name)(shape, dtype, order))
    alike(snp.empty(shape, dtype, order), np.zeros(shape, dtype, order))


@given(hnp.arrays(DTYPES, SHAPES), st.sampled_from("CFAK"), st.integers(0, 12), st.data())
def test_copies_and_likes_of_any_layout_are_as_numpy_s(source, order, ndmin, data):
    source = source[tuple(slice(None, None, data.draw(st.sampled_from([1, -1, 2]))) for _ in source.shape)].T
    alike(snp.array(source, order=order, ndmin=ndmin), np.array(source, order=order, ndmin=ndmin))
    alike(snp.copy(source, order), np.copy(source, order))
    for name in ("zeros_like", "ones_like"):
        alike(getattr(snp, name)(source, order=order), getattr(np, name)(source, order=order))
    alike(snp.empty_like(source, order=order), np.zeros_like(source, order=order))


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.5, 9), st.sampled_from([None, "f4", "i8", "c16"]))
def test_ranges_are_as_numpy_s(start, stop, step, dtype):
    for arguments in ((start,), (start, stop), (start, stop, step)):
        alike(snp.arange(*arguments, dtype=dtype), np.arange(*arguments, dtype=dtype))


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("zeros", (3,), {"dtype": ("i4", (2, 3))}),
        ("ones", ([2, 3],), {"like": np.zeros(1)}),
        ("full", ((2, 2), [1, 2]), {"dtype": "f4", "order": "F"}),
        ("full_like", (np.arange(6).reshape(2, 3).T, 2.9), {}),
        ("full_like", ([[1, 2]], 7), {"dtype": "c8", "shape": (3, 2)}),
        ("zeros_like", ([1.5, 2],), {"shape": 4, "subok": False}),
        ("empty_like", (np.zeros(3),), {"shape": (0, 2)}),
        ("arange", (5,), {"like": np.zeros(1)}),
        ("arange", (3, None, 2), {}),
        ("array", ([[1, 2], [3, 4]],), {"ndmin": 4, "order": "F", "dtype": "f4"}),
        ("asarray", ([1, 2],), {"dtype": "u1", "order": "F"}),
        ("array", (np.datetime64("2020-01-01"),), {}),
        ("zeros", (3,), {"dtype": np.dtype("f8").type}),
    ],
)
def test_other_arguments_mean_what_they_mean_to_numpy(name, arguments, named):
    alike(getattr(snp, name)(*arguments, **named), getattr(np, name)(*arguments, **named))


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("zeros", (3, "no such"), {}), ("zeros", (-1,), {}), ("empty", (3,), {"order": "Q"}), ("arange", (), {}),
        ("arange", (0, 1, 0), {}), ("array", ([[1, 2], [3]],), {}), ("array", ([1],), {"ndmin": 100}),
        ("full", ((2, 3), [1, 2]), {}), ("zeros", (3,), {"device": "cuda"}), ("frombuffer", (b"12345", "f8"), {}),
        ("frombuffer", (b"12345678", "u1", 3, 7), {}), ("frombuffer", ("text",), {}), ("zeros", (2**62,), {}),
        *([("array", (np.arange(3),), {"copy": "no"}), ("asarray", ([1, 2],), {"copy": False}),
           ("asarray", ([1, 2],), {"copy": True, "device": "cuda"})] if NUMPY_2 else []),
    ],
)  # fmt: skip
def test_what_numpy_refuses_is_refused_in_the_same_way(name, arguments, named):
    theirs = result(getattr(np, name), *arguments, **named)
    assert isinstance(theirs, type)
    assert result(getattr(snp, name), *arguments, **named) is theirs


@pytest.mark.skipif(not NUMPY_2, reason="numpy 1 has no device")
@pytest.mark.parametrize("name", ["zeros", "ones", "empty", "arange", "zeros_like", "ones_like", "empty_like"])
def test_the_device_is_the_cpu(name):
    assert snp.is_secret(getattr(snp, name)([3] if name.endswith("like") else 3, device="cpu"))


# --- subclasses, and what other libraries make ---


def test_subclasses_are_kept_where_numpy_keeps_them():
    masked = np.ma.array([1.0, 2, 3], mask=[0, 1, 0])
    for made in (snp.array(masked, subok=True), snp.zeros_like(masked), snp.copy(masked, subok=True)):
        assert type(made) is type(masked)
        assert snp.is_secret(made)
        assert snp.is_secret(made.data)
        assert snp.is_secret(made.mask)
    assert type(snp.array(masked)) is type(snp.copy(masked)) is type(snp.zeros_like(masked, subok=False)) is np.ndarray


class Elsewhere:
    """A library whose arrays numpy does not make."""

    def __array_function__(self, function, types, arguments, named):
        return ORDINARY


ORDINARY = np.zeros(3)


def test_an_array_that_like_makes_elsewhere_is_refused():
    assert np.zeros(3, like=Elsewhere()) is ORDINARY
    for make in (snp.zeros, snp.arange):
        with pytest.raises(TypeError, match="elsewhere"):
            make(3, like=Elsewhere())


class Converts:
    def __array__(self, dtype=None, copy=None):
        return ORDINARY


def test_what_an_object_converts_itself_into_is_copied():
    for made in (snp.array(Converts()), snp.asarray(Converts())):
        assert snp.is_secret(made)
    assert not snp.is_secret(ORDINARY)


# --- what is refused ---

TEXT = [np.dtypes.StringDType(), np.dtypes.StringDType] if NUMPY_2 else []


@pytest.mark.parametrize("dtype", [object, "i4,O", [("a", [("b", "O")])], ("O", 2), *TEXT], ids=str)
def test_what_would_lie_elsewhere_is_refused_with_the_reason(dtype):
    calls = [
        lambda: snp.zeros(3, dtype), lambda: snp.empty_like([1], dtype), lambda: snp.full(3, 1, dtype),
        lambda: snp.fromfile("/dev/null", dtype), lambda: snp.zeros(3, dtype, guarded=True),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(TypeError, match="ordinary memory"):
            call()


@pytest.mark.skipif(not NUMPY_2, reason="numpy 1 has no StringDType")
def test_text_of_variable_width_that_exists_is_refused():
    text = np.array(["long" * 20], dtype=np.dtypes.StringDType())
    for call in (snp.array, snp.asarray, snp.zeros_like, snp.wipe, lambda a: snp.save("/dev/null", a)):
        with pytest.raises(TypeError, match=r"arena .* fixed width"):
            call(text)


# --- asarray, array: copies only where one is needed ---


def test_what_is_secret_already_is_not_copied():
    a = snp.ones((3, 4))
    assert snp.asarray(a) is a
    assert snp.asarray(a, "f8", "C") is a
    assert snp.array(a, copy=None) is a
    assert snp.array(a, copy=False) is a
    assert data_of(snp.asarray(a[1:, ::2])) == data_of(a[1:])
    for other in (snp.array(a), snp.asarray(a, "f4"), snp.asarray(a, order="F"), snp.array(a, copy=True)):
        assert data_of(other) != data_of(a)
        assert (other == a).all()


def test_what_lies_in_another_heap_is_copied_where_a_heap_is_asked_for():
    one, other = Heap("one"), Heap("other")
    a = snp.ones(4, heap=one)
    assert snp.asarray(a, heap=one) is a
    assert snp.asarray(a) is a
    b = snp.asarray(a, heap=other)
    assert (one.stats().live, other.stats().live) == (1, 1)
    for call in (snp.asarray, snp.array):
        with pytest.raises(ValueError, match="copy"):
            call(a, copy=False, heap=other)
    del a, b


@pytest.mark.parametrize("call", [snp.array, snp.asarray])
def test_ordinary_data_is_copied_unless_that_is_forbidden(call):
    plain = np.arange(6.0).reshape(2, 3).T
    made = call(plain, copy=None)
    assert snp.is_secret(made)
    assert made.strides == plain.strides
    with pytest.raises(ValueError, match="copy"):
        call(plain, copy=False)


# --- frombuffer ---


def test_a_secure_bytes_is_viewed_without_a_copy_and_pinned():
    key = SecureBytes(32)
    a = snp.frombuffer(key, "u2", 5, offset=4)
    assert (a.shape, data_of(a)) == ((5,), capi.address_of(key) + 4)
    a[:] = 0x4141
    assert key == bytes(4) + b"A" * 10 + bytes(18)
    assert snp.owner(a[2:].reshape(-1, 1).view("u1")) is key
    key.wipe()
    assert not a.any()  # the slot is kept for it
    with pytest.raises(WipedError):
        snp.frombuffer(key)
    with snp.secure_arrays():
        assert snp.frombuffer(SecureBytes(8)).shape == (1,)  # numpy's default, float64


@given(st.binary(max_size=64), st.sampled_from(["u1", "i4", "f8", "i2,u1"]), st.integers(-2, 9), st.integers(0, 70))
def test_any_buffer_gives_what_numpy_makes_of_it(data, dtype, count, offset):
    theirs = result(np.frombuffer, data, dtype, count, offset)
    for buffer in (data, bytearray(data), memoryview(data), SecureBytes(data), snp.array(list(data), "u1")):
        ours = result(snp.frombuffer, buffer, dtype, count, offset)
        if isinstance(theirs, type):
            assert ours is theirs
        else:
            assert ours.tobytes() == theirs.tobytes()
            assert snp.is_secret(ours)


def test_ordinary_bytes_are_copied_and_secret_ones_of_another_heap_where_one_is_asked_for():
    source, heap = bytearray(b"12345678"), Heap("buffers")
    a = snp.frombuffer(source, "u1")
    source[0] = 0
    assert a[0] == ord("1")
    key = SecureBytes(source)
    assert snp.owner(snp.frombuffer(key, heap=heap)) is None
    assert snp.owner(snp.frombuffer(SecureBytes(8, heap=heap), heap=heap)) is not None


def test_a_protected_secure_bytes_gives_what_its_protection_allows():
    key = SecureBytes(16, guarded=True)
    key.readonly()
    assert not snp.frombuffer(key).flags.writeable
    key.noaccess()
    with pytest.raises(ProtectedError):
        snp.frombuffer(key)


# --- about any array ---


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", ["u1", "f8", "S5", "U3", "M8[s]", "?", "i4,S3", {"names": ["a"], "formats": ["u1"],
                                   "itemsize": 9}], ids=str)  # fmt: skip
def test_wiping_zeroes_all_data_padding_included(dtype, order):
    for a in (snp.zeros((5, 7), dtype, order), np.zeros((5, 7), dtype, order)):
        address = data_of(a)
        capi.write(address, b"\xa5" * a.nbytes)
        snp.wipe(a)
        assert capi.read(address, a.nbytes) == bytes(a.nbytes)


@given(st.data())
def test_wiping_a_part_wipes_no_byte_beside_it(data):
    a = snp.full((4, 5, 6), 0x5A, "u2")
    steps = st.sampled_from([slice(None), slice(1, None), slice(None, None, 2), slice(None, None, -1), slice(2, 2)])
    part = tuple(data.draw(steps) for _ in a.shape)
    expected = np.array(a)
    expected[part] = 0
    snp.wipe(a[part].T)
    assert (a == expected).all()
    snp.wipe(snp.zeros(()))


def test_what_cannot_be_wiped_is_refused():
    a = snp.ones(3)
    a.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        snp.wipe(a)
    assert a.all()
    with pytest.raises(TypeError, match="ordinary memory"):
        snp.wipe(np.array([None]))


def test_a_locked_heap_is_not_wiped_and_its_generator_draws_all_the_same():
    heap = Heap("locked")
    a, drawing = snp.ones(3, heap=heap), snp.generator(heap)
    heap.lock()
    with pytest.raises(ProtectedError, match="locked"):
        snp.wipe(a)
    with pytest.raises(ProtectedError):
        snp.zeros(3, heap=heap)
    assert len(set(drawing.random(1_000).tolist())) == 1_000
    with heap.unlocked():
        assert a.all()
        snp.wipe(a)
        assert not a.any()


@pytest.mark.parametrize("policy", ["isolate", "copy"])
def test_wiping_in_a_forked_child_wipes_what_is_its_own(policy):
    succeed(
        """
        import os, sys
        import secalloc, secalloc.numpy as snp
        a = snp.ones((30, 30), heap=secalloc.Heap("forked", on_fork=sys.argv[1]))
        pid = os.fork()
        if pid == 0:
            snp.wipe(a)
            snp.wipe(a[::2, ::3])
            assert snp.is_secret(a)
            assert (snp.backend(a) is None) == (sys.argv[1] == "isolate")
            assert sys.argv[1] == "isolate" or not a.any()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert a.all()
        """,
        policy,
    )


@pytest.mark.parametrize("what", [None, 5, [1], memoryview(b"x"), SecureBytes(3), np.float64(3), np.ndarray], ids=str)
def test_what_is_no_array_is_refused(what):
    for ask in (snp.is_secret, snp.backend, snp.owner, snp.wipe):
        with pytest.raises(TypeError, match="ndarray"):
            ask(what)


def test_a_view_of_any_kind_tells_where_its_data_is():
    a = snp.ones((4, 6))
    views = [
        a[1], a[::-1, 2:], a.T, a.reshape(-1)[3:3], a.view("u1"), a.ravel(), np.broadcast_to(a, (2, 4, 6)), a.real,
        np.asarray(memoryview(a)), a.view(np.ma.MaskedArray), np.lib.stride_tricks.as_strided(a, (2,), (8,)),
    ]  # fmt: skip
    for view in views:
        assert snp.is_secret(view)
        assert snp.backend(view) == maps.backend_at(data_of(a))
        assert snp.owner(view) is None
    assert not snp.is_secret(a + 1)
    assert snp.backend(a + 1) is None


# --- random numbers ---


@pytest.mark.parametrize("dtype", ["u1", "i1", ">u2", "u4", "i8", "f4", "f8"])
@pytest.mark.parametrize("size", [None, (), 0, 5, (3, 0), (40, 50)])
def test_random_numbers_are_on_secret_pages_in_the_wished_shape(dtype, size):
    a = snp.random(size, dtype)
    assert a.shape == np.empty(() if size is None else size).shape
    assert a.dtype == dtype
    assert snp.is_secret(a)


def test_random_integers_reach_all_values_and_floats_all_of_the_unit_interval():
    assert set(snp.random(20_000, "u1").tolist()) == set(range(256))
    bits = np.bitwise_or.reduce(snp.random(1_000, "u8")), np.bitwise_and.reduce(snp.random(1_000, "u8"))
    assert bits == (2**64 - 1, 0)
    for dtype, finest in (("f8", 2.0**-53), ("f4", 2.0**-24)):
        a = snp.random(20_000, dtype).astype("f8")
        assert ((a >= 0) & (a < 1)).all()
        assert len(np.unique((a * 64).astype(int))) == 64
        assert ((a / finest) % 1 == 0).all()
        assert ((a / finest) % 2 == 1).any()


@pytest.mark.parametrize("dtype", [bool, "c16", "S3", "M8[s]", object, "f2", ">f8", "i4,i4"])
def test_random_numbers_of_other_kinds_are_refused(dtype):
    with pytest.raises(TypeError, match="float32, float64 or integers"):
        snp.random(3, dtype)


def test_a_generator_draws_what_numpy_s_distributions_need():
    heap = Heap("bits")
    drawing = snp.generator(heap)
    assert heap.stats().live == 1
    with snp.secure_arrays():
        normal = drawing.standard_normal(20_000)
    assert snp.is_secret(normal)
    assert abs(normal.mean()) < 0.1
    assert abs(normal.std() - 1) < 0.1
    assert set(drawing.integers(6, size=1_000).tolist()) == set(range(6))
    assert sorted(drawing.permutation(300).tolist()) == list(range(300))
    assert len(set(drawing.random(3_000).tolist())) == 3_000  # over many refills no number comes again
    with pytest.raises(TypeError, match="pickled"):
        drawing.bit_generator.__reduce__()
    del drawing
    assert heap.stats().live == 0


def test_a_word_is_gone_from_the_pool_when_it_was_drawn():
    heap = Heap("pool")
    drawing = snp.generator(heap)


    def pages():
        """Those that are secret, as they are now."""
        return b"".join(capi.read(each.start, each.end - each.start) for each in maps.secret_mappings()
                        if each.access.startswith("r"))  # fmt: skip

    gc.collect()  # no heap of an earlier test is given back between the picture and the look
    before = pages()
    drawn = drawing.integers(0, 2**64, dtype="u8", size=4)
    for word in drawn.tolist():
        code = word.to_bytes(8, "little")
        assert code in before  # the control: that is where it came from
        assert code not in pages()


def test_a_wiped_heap_gives_random_numbers_all_the_same():
    heap = Heap("wiped")
    drawing = snp.generator(heap)
    drawing.random()
    heap.wipe()
    assert len(set(drawing.random(1_000).tolist())) == 1_000


@pytest.mark.parametrize("policy", ["isolate", "copy"])
def test_a_forked_child_draws_other_numbers(policy):
    numbers = succeed(
        """
        import os, sys
        import secalloc, secalloc.numpy as snp
        drawing = snp.generator(secalloc.Heap("forked", on_fork=sys.argv[1]))
        drawing.random()
        pid = os.fork()
        if pid != 0:
            assert os.waitpid(pid, 0)[1] == 0
        print(*drawing.integers(0, 2**63, size=300), flush=True)
        if pid == 0:
            os._exit(0)
        """,
        policy,
    ).split()
    assert len(numbers) == len(set(numbers)) == 600
