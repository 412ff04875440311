"""`secalloc.numpy` beside numpy: constructors of any dtype, shape and order, and arithmetic in `secure_arrays`."""
import io

import numpy as np
from hypothesis import given, note
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_numpy_api import DTYPES, alike, result

import secalloc.numpy as snp
from fuzz.behaviour import kind, saw, size
from fuzz.compare import is_error
from fuzz.ways import Ways
from secalloc import Heap, SecureBytes
from secalloc_ext.heapobject import DEFAULT

HEAP = Heap("arrays", limit="64 MiB")
HEAPS = (DEFAULT, HEAP)
SHAPES = hnp.array_shapes(min_dims=0, min_side=0, max_side=6, max_dims=4)
ANY_SHAPES = st.one_of(SHAPES, st.integers(-2, 5000), st.sampled_from([(-1,), (2**62,), (0, 2**62), (2**40, 2**40),
                                                                       None, 1.5, "2", (1,) * 70]))  # fmt: skip
ORDERS = st.sampled_from(["C", "F", "A", "K", None, "Q"])
NAMES = st.sampled_from(
    ["f8", "i4", "u1", "?", "c16", "S3", "U2", "M8[s]", "i2,f4", "V5", "no such", "f2", ">u8", "O", "S", None]
)
NUMBERS = st.one_of(
    st.integers(-300, 300), st.floats(-1e3, 1e3), st.sampled_from([np.nan, np.inf, True, 1j, 2**63, "1", b"1", None])
)
way = Ways()


def same(name, ours, theirs, objects=False):
    """The same array, or an error of the same type; objects are a TypeError here: `objects`, where numpy
    says something else of them."""
    with np.errstate(all="ignore"):
        expected, answer = result(theirs), result(ours)
    saw(
        name,
        kind(answer),
        str(getattr(answer, "dtype", "-"))[:5],
        getattr(answer, "ndim", -1),
        size(getattr(answer, "size", 0)),
    )
    note(f"{name}: {answer!r:.200}, expected {expected!r:.200}")
    if is_error(expected):
        assert is_error(answer), f"{name} answered, where numpy does not"
        assert issubclass(answer, (expected, MemoryError)) or objects, (
            f"{name} raised {answer.__name__}, not {expected.__name__}"
        )
    elif getattr(expected, "dtype", np.dtype("f8")).hasobject:
        assert answer is TypeError, f"{name} took objects"
    elif is_error(answer):
        assert issubclass(answer, MemoryError), f"{name} raised {answer.__name__}"
        assert expected.nbytes > 2**26, f"{name} found no memory"
    elif name == "asarray" or (name.startswith("frombuffer") and not expected.size):
        # Where numpy makes no copy, strides that nothing depends on may be others.
        assert (answer.shape, answer.dtype, answer.tobytes()) == (expected.shape, expected.dtype, expected.tobytes())
    else:
        alike(answer, expected)
    return answer


def one_of_two(dtype):
    """Whether the dtype may be a second mistake, and either may be told."""
    return dtype is None or (isinstance(dtype, str) and dtype in ("O", "no such"))


@way(st.sampled_from(["zeros", "ones"]), ANY_SHAPES, DTYPES | NAMES, ORDERS)
def by_shape(name, shape, dtype, order):
    same(
        name,
        lambda: getattr(snp, name)(shape, dtype, order, heap=HEAP),
        lambda: getattr(np, name)(shape, dtype, order),
        one_of_two(dtype),
    )


@way(ANY_SHAPES, NUMBERS, NAMES, ORDERS)
def full(shape, value, dtype, order):
    same(
        "full",
        lambda: snp.full(shape, value, dtype, order, heap=HEAP),
        lambda: np.full(shape, value, dtype, order),
        one_of_two(dtype),
    )


@way(st.sampled_from(["zeros_like", "ones_like", "array", "copy", "asarray"]), hnp.arrays(DTYPES, SHAPES), ORDERS,
     st.lists(st.sampled_from([slice(None), slice(None, None, -1), slice(None, None, 2), slice(1, 1)]),
              max_size=3))  # fmt: skip
def like(name, source, order, parts):
    source = source[tuple(parts[: source.ndim])].T
    same(
        name, lambda: getattr(snp, name)(source, order=order, heap=HEAP), lambda: getattr(np, name)(source, order=order)
    )


@way(st.recursive(NUMBERS, lambda each: st.lists(each, max_size=4), max_leaves=9), NAMES, st.integers(-1, 5))
def array(nested, dtype, ndmin):
    same(
        "array",
        lambda: snp.array(nested, dtype, ndmin=ndmin, heap=HEAP),
        lambda: np.array(nested, dtype, ndmin=ndmin),
        dtype in ("O", None),
    )


@way(st.lists(st.one_of(st.integers(-50, 50), st.floats(-50, 50), st.none()), max_size=3), NAMES)
def arange(arguments, dtype):
    if len(arguments) == 3 and arguments[2] and abs(arguments[2]) < 0.01:
        arguments = arguments[:2]
    same("arange", lambda: snp.arange(*arguments, dtype=dtype, heap=HEAP), lambda: np.arange(*arguments, dtype=dtype))


@way(
    st.binary(max_size=70),
    st.sampled_from([bytes, bytearray, memoryview, SecureBytes]),
    NAMES,
    st.integers(-3, 30),
    st.integers(-3, 80),
)
def frombuffer(data, source, dtype, count, offset):
    made = source(data)
    same(f"frombuffer {source.__name__}", lambda: snp.frombuffer(made, dtype, count, offset, heap=None),
         lambda: np.frombuffer(data, dtype, count, offset), dtype == "O")  # fmt: skip


@way(hnp.arrays(st.sampled_from(["u1", "f8", "i2,S3"]), st.integers(0, 40)), st.lists(st.integers(0, 3000), max_size=4))
def resize(source, sizes):
    """Grows and shrinks on secret pages, zeros in what is new."""
    ours, theirs = snp.array(source, heap=HEAP), np.array(source)
    for count in sizes:
        ours.resize(count, refcheck=False)
        theirs.resize(count, refcheck=False)
        assert ours.tobytes() == theirs.tobytes(), "resize left something else"
        assert snp.is_secret(ours)
        saw("resize", size(ours.nbytes))
    snp.wipe(ours)
    assert not any(ours.tobytes())


@way(hnp.arrays(DTYPES, SHAPES), st.sampled_from(["file", "descriptor", "object"]), st.booleans())
def files(source, kind, backwards):
    """The same bytes as numpy writes, and read again; without a header too."""
    source = source[::-1] if backwards and source.ndim else source
    theirs, ours = io.BytesIO(), io.BytesIO()
    np.save(theirs, source)
    if kind == "object":
        snp.save(ours, source, heap=HEAP)
        written = ours.getvalue()
    else:
        with open("saved.npy", "wb") as file:
            snp.save(file.fileno() if kind == "descriptor" else file, source, heap=HEAP)
        with open("saved.npy", "rb") as file:
            written = file.read()
    saw("files", kind, source.dtype.kind, source.ndim)
    alike_written = source.flags.c_contiguous and str(source.dtype).isascii()  # names are written as escapes here
    assert written == theirs.getvalue() or not alike_written, "save wrote something else"
    again = snp.load("saved.npy" if kind != "object" else io.BytesIO(written), heap=HEAP)
    assert again.tobytes() == source.tobytes()
    assert again.shape == source.shape
    if source.dtype.itemsize:
        with open("raw", "wb") as file:
            file.write(source.tobytes())
        same("fromfile", lambda: snp.fromfile("raw", source.dtype, heap=HEAP), lambda: np.fromfile("raw", source.dtype))


@way(
    st.one_of(SHAPES, st.none(), st.integers(-1, 300)),
    st.sampled_from(["f8", "f4", "i2", "u8", "?", "c16", "S3", "no such"]),
)
def random(shape, dtype):
    """Of what dtypes there can be; and a generator's."""
    answer = result(lambda: snp.random(shape, dtype, heap=HEAP))
    saw("random", kind(answer), dtype)
    assert is_error(answer) == (dtype in ("?", "c16", "S3", "no such") or shape == -1)
    if not is_error(answer):
        assert (answer.shape, answer.dtype) == (np.empty(() if shape is None else shape).shape, np.dtype(dtype))
        assert snp.is_secret(answer)
        assert snp.backend(answer) == HEAP.backend
        assert answer.dtype.kind != "f" or ((answer >= 0) & (answer < 1)).all()
    numbers = snp.generator(HEAP).integers(0, 9, 5)
    assert (numbers < 9).all()


@way(
    st.integers(0, 300), st.sampled_from(["u1", "f4", "i2,u1"]), st.sampled_from(["noaccess", "readonly", "readwrite"])
)
def guarded(count, dtype, access):
    """Right before a page that nobody may touch, with a protection of its own."""
    made = snp.zeros(count, dtype, guarded=True, heap=HEAP)
    key = snp.owner(made)
    assert key.guarded
    assert result(getattr(key, access)) is (None if access == "readwrite" else BufferError)
    made[:] = 1
    expected = made.tobytes()
    del made
    getattr(key, access)()
    with key.unlocked():
        assert key == expected
    saw("guarded", size(count), access)


@way(hnp.arrays(st.sampled_from(["u1", "f8"]), SHAPES), ANY_SHAPES)
def others(source, shape):
    for name in ("empty_like", "empty"):
        made = getattr(snp, name)(source if name == "empty_like" else source.shape, source.dtype, heap=HEAP)
        assert (made.shape, made.dtype) == (source.shape, source.dtype)
        assert not any(made.tobytes()), "there is something in what is new"
    same(
        "full_like",
        lambda: snp.full_like(source, 7, shape=shape, heap=HEAP),
        lambda: np.full_like(source, 7, shape=shape),
    )


OPERATIONS = {
    "+": np.add, "*": np.multiply, "/": np.divide, "max": np.maximum, "sort": lambda a, b: np.sort(a, axis=None),
    "cat": lambda a, b: np.concatenate([a.ravel(), b.ravel()]), "cast": lambda a, b: a.astype("f4"),
    "dot": lambda a, b: np.dot(a.ravel(), a.ravel()), "cum": lambda a, b: np.cumsum(a), "take": lambda a,
    b: a.ravel()[::-2],
    "where": lambda a, b: np.where(a > 0, a, 0), "repeat": lambda a, b: np.repeat(a, 3), "unique": lambda a,
    b: np.unique(a),
    "pad": lambda a, b: np.pad(a.ravel(), 2), "argsort": lambda a, b: np.argsort(a, axis=None, kind="stable"),
    "fft": lambda a, b: np.fft.fft(a.ravel()), "text": lambda a, b: a.astype("U8"), "split": lambda a,
    b: np.array_split(a.ravel(), 3)[1],
}  # fmt: skip


@way(hnp.arrays(st.sampled_from(["f8", "i4", "u1", "f4"]), SHAPES, elements=st.integers(0, 100)), st.integers(0, 3),
     st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=4), st.booleans())  # fmt: skip
def within(source, other, names, scrub):
    """Temporaries, too; the same in and out of the block."""

    def compute():
        values = [np.array(source)]
        for name in names:
            values.append(OPERATIONS[name](values[-1], np.asarray(other)))
            if values[-1].dtype.kind not in "fiu" or values[-1].size > 10_000:
                break
        return values[-1]

    with np.errstate(all="ignore"):
        expected = result(compute)
        with snp.secure_arrays(HEAP, scrub=scrub):
            answer = result(compute)
    saw("within", names[0], kind(answer))
    if is_error(expected):
        assert answer is expected
    else:
        assert answer.tobytes() == expected.tobytes(), "another result on secret pages"
        assert answer.dtype == expected.dtype
        assert answer.ndim == 0 or snp.is_secret(answer), "the result is in ordinary memory"


@given(way.lists(4))
def check(steps):
    for step in steps:
        way.go(step)
