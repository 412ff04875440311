"""What is done with secret arrays, and the arrays: a subject of `leaktable`.

A new operation is a line in `OPERATIONS`. Its code is an expression of the names of `inputs`.
"""
import ast
import contextlib
import os
import platform
import tempfile
from pathlib import Path

import numpy as np
from leaktable import Operation

import secalloc.numpy as snp
from secalloc import scope
from secalloc.numpy import secure_arrays
from secalloc_ext.windows import Windows

FOLDER = Path(__file__).resolve().parent
DOCS = FOLDER.parent.parent / "docs" / "NUMPY.md"
WARM = True  # numpy loads much at a first call
N, ROWS = 4096, 160
TEXT_BYTES, INDICES_BYTES = 16, 32  # of text, and of small numbers, that nothing else is likely to have
DTYPES = {"f": "f4", "c": "c16", "i": "i8", "u": "u1"}  # all others are float64
MATRICES = ("m", "n", "s")


class both(contextlib.ExitStack):
    """Two blocks at once."""

    def __init__(self, *blocks):
        super().__init__()
        self.blocks = blocks

    def __enter__(self):
        for block in self.blocks:
            self.enter_context(block)


BLOCKS = {
    "ordinary": lambda heap: contextlib.nullcontext(),
    "handler": secure_arrays,
    "scrub": lambda heap: secure_arrays(heap, scrub=True),
    "scope": lambda heap: scope(),
    "both": lambda heap: both(secure_arrays(heap, scrub=True), scope()),
}
TITLES = {"ordinary": "ordinary arrays", "handler": "`secure_arrays()`", "scrub": "`scrub=True`", "scope": "`scope()`",
          "both": "`scope()` and `scrub=True`"}  # fmt: skip


def versions():
    return f"{platform.python_version()}, numpy {np.__version__}"


def inputs(heap):
    """Fresh random arrays on secret pages, by name."""
    names = {name: snp.random(N, heap=heap) for name in ("a", "b")}
    names["m"], names["n"] = (snp.random((ROWS, ROWS), heap=heap) for _ in range(2))
    names["s"] = snp.array(names["m"], heap=heap)  # symmetric, and positive definite
    with snp.secure_arrays(heap):
        for i in range(ROWS):
            names["s"][i:, i] = names["s"][i, i:]
            names["s"][i : i + 1, i : i + 1] += ROWS
    names["f"] = snp.random(N, "f4", heap=heap)
    names["c"] = snp.random(2 * N, heap=heap).view("c16")
    names["i"] = snp.random(N, "i8", heap=heap)
    names["u"] = snp.random(N, "u1", heap=heap)
    return names


def ordinary(arrays):
    return {name: np.array(array) for name, array in arrays.items()}


def names(operation, arrays):
    return globals() | arrays


def coded(array, heap):
    data = array.reshape(-1).view("u1")
    pad = snp.random(data.size, "u1", heap=heap)
    result = snp.empty(data.size, "u1", heap=heap)
    np.bitwise_xor(data, pad, out=result)
    return pad, result


def rebuilt(name, data):
    array = np.frombuffer(data, DTYPES.get(name, "f8")).copy()
    return array.reshape(ROWS, ROWS) if name in MATRICES else array


# --- what is looked for ---


def forms_of(kind, value):
    """Of a value: its bytes, the width of a window of them, and the step between two."""
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        return [(kind, data, TEXT_BYTES, 1)] if len(data) >= TEXT_BYTES else []
    if value is None:
        return []
    if isinstance(value, tuple | list) and not isinstance(value[0], float):
        return [form for each in value for form in forms_of(kind, each)]
    array = np.asarray(value)
    width, step = 8, min(array.dtype.itemsize, 8)
    if array.dtype.kind == "S":
        width, step = TEXT_BYTES, 1
    elif array.dtype.kind == "i" and np.abs(array.astype("f8")).max(initial=0) < 2.0**40:
        width = INDICES_BYTES
    data = array.tobytes()
    if array.dtype == np.float64 and not (np.frombuffer(data, "u8") & 0xFFFFFF).any():
        width = 16  # from float32: a number of so few bits may be anybody's
    try:
        Windows([data], width, step)
    except ValueError:  # sorted bytes, truth values, two numbers: they may be anybody's
        return []
    return [(kind, data, width, step)]


def forms(operation, arrays):
    """The arrays that the operation names, its answer, and what is computed on the way."""
    used = {node.id for node in ast.walk(ast.parse(operation.code)) if isinstance(node, ast.Name)}
    found = [form for name in arrays if name in used for form in forms_of("input", arrays[name])]
    found += forms_of("result", eval(operation.code, names(operation, arrays)))
    for expression in operation.between:
        found += forms_of("between", eval(expression, names(operation, arrays)))
    return found


def kept(operation, wanted):
    """The kinds that the control is to find."""
    return {form[0] for form in wanted} - {"between"}


# --- what is done ---


def saved(write):
    """Have a function write to a file's name; nothing of it is kept."""
    with tempfile.TemporaryDirectory() as folder:
        write(os.path.join(folder, "array"))


def read_back(array, read):
    """What a function reads from the name of a file with the array's bytes, which come there without a copy."""
    with tempfile.NamedTemporaryFile() as file:
        snp.save(file, array) if read in (np.load, snp.load) else os.write(file.fileno(), memoryview(array).cast("B"))
        file.flush()
        return read(file.name)


OBJECT = "numbers are Python objects: pymalloc's pools, not wiped when freed"
TEXT = "text is a Python object"
MALLOC = "scratch of malloc, not wiped when freed"
BLAS = "BLAS packs blocks of its arguments into buffers that it keeps"
STACK = "on the stack"
STDIO = "a buffer of the C library's stdio"
_LINES = (
    # arithmetic
    ("arithmetic", "a + b"), ("arithmetic", "a * 2 + 1"), ("arithmetic", "a - b * b"), ("arithmetic", "a / b"),
    ("arithmetic", "a ** 3"), ("arithmetic", "np.sqrt(a)"), ("arithmetic", "np.exp(a)"), ("arithmetic", "np.sin(a)"),
    ("arithmetic", "np.log1p(a)"), ("arithmetic", "np.maximum(a, b)"), ("arithmetic", "i ^ 12345"),
    ("arithmetic", "np.add(a, b, out=b.copy())"), ("arithmetic", "a[::-1] + b[::2].repeat(2)"),
    ("arithmetic", "m + a[:ROWS]", MALLOC), ("arithmetic", "m + m.T", MALLOC), ("arithmetic", "c * c"),
    ("arithmetic", "np.clip(a, .25, .75)"),
    # casts
    ("casts", "a.astype('f4')"), ("casts", "f.astype('f8')"), ("casts", "a.astype('c16')"),
    ("casts", "f + a", MALLOC, ("f.astype('f8')",)),
    ("casts", "np.add(f, f, dtype='f8')", MALLOC, ("f.astype('f8')",)), ("casts", "a.astype('>f8')"),
    ("casts", "a.astype('>f8') + 1", MALLOC, ("a + 1",)),
    ("casts", "np.multiply(a, a, out=np.empty(N, 'f4'), casting='same_kind')", MALLOC, ("a * a",)),
    ("casts", "a.astype('S24')", "numpy keeps the digits of its last number in a static buffer"),
    ("casts", "np.frombuffer(a.tobytes())", TEXT),
    # sorts
    ("sorts", "np.sort(a)", STACK), ("sorts", "np.sort(a, kind='stable')", MALLOC),
    ("sorts", "np.sort(u, kind='stable')"), ("sorts", "np.sort(i, kind='stable')", MALLOC),
    ("sorts", "np.sort(m, axis=0)", MALLOC), ("sorts", "np.argsort(a)", STACK),
    ("sorts", "np.partition(a, N // 2)", STACK), ("sorts", "np.unique(a)", OBJECT), ("sorts", "np.median(a)", OBJECT),
    ("sorts", "np.searchsorted(np.sort(a), b)", STACK), ("sorts", "np.lexsort((a, b))", MALLOC),
    ("sorts", "np.percentile(a, [10, 50, 90])", OBJECT),
    # reductions
    ("reductions", "a.sum()", OBJECT), ("reductions", "m.sum(axis=0)"), ("reductions", "np.cumsum(a)"),
    ("reductions", "a.std()", OBJECT), ("reductions", "m.mean(axis=1)"), ("reductions", "f.sum(dtype='f8')", OBJECT),
    ("reductions", "a.max()", OBJECT), ("reductions", "np.add.reduceat(a, [0, 100, 1000])"),
    ("reductions", "np.histogram(a, 16)[0]", OBJECT),
    # indexing
    ("indexing", "a[np.arange(0, N, 3)]"), ("indexing", "a[a > .5]"), ("indexing", "np.where(a > .5, a, b)"),
    ("indexing", "np.take(m, [5, 3, 1], axis=0)"), ("indexing", "a[7]", OBJECT), ("indexing", "a.item(7)", OBJECT),
    ("indexing", "m.T.copy()"), ("indexing", "m[::2, ::-1].ravel()"), ("indexing", "np.roll(a, 100)"),
    ("indexing", "np.copyto(np.empty(N), a)"),
    # linear algebra
    ("linear algebra", "m @ n", BLAS), ("linear algebra", "m @ a[:ROWS]", BLAS),
    ("linear algebra", "np.dot(a, b)", OBJECT), ("linear algebra", "np.einsum('ij,jk->ik', m, n)", BLAS),
    ("linear algebra", "np.einsum('ij,ij->i', m, n)"),
    ("linear algebra", "np.einsum('ij,jk,kl->il', m, n, m, optimize=True)", BLAS),
    ("linear algebra", "np.outer(a[:90], b[:90])", MALLOC),
    ("linear algebra", "i[:ROWS] @ i.view('u4')[:ROWS]", OBJECT),
    ("linear algebra", "np.linalg.solve(m, a[:ROWS])", BLAS), ("linear algebra", "np.linalg.inv(m)", BLAS),
    ("linear algebra", "np.linalg.cholesky(s)", BLAS), ("linear algebra", "np.linalg.svd(m)", BLAS),
    ("linear algebra", "np.linalg.eigh(s)", BLAS), ("linear algebra", "np.linalg.qr(m)", BLAS),
    ("linear algebra", "np.linalg.det(m)", BLAS),
    ("linear algebra", "np.linalg.lstsq(m, a[:ROWS], rcond=None)", BLAS),
    ("linear algebra", "np.linalg.norm(a)", OBJECT),
    # transforms
    ("transforms", "np.fft.fft(c)", MALLOC), ("transforms", "np.fft.rfft(a)", MALLOC),
    ("transforms", "np.fft.fft2(m)", MALLOC), ("transforms", "np.fft.irfft(c[:N // 2 + 1])", MALLOC),
    ("transforms", "np.fft.fft(c[:4093])", MALLOC), ("transforms", "np.convolve(a[:500], b[:50])"),
    ("transforms", "np.interp(a, np.sort(b), b)", MALLOC),
    # put together
    ("put together", "np.concatenate([a, b])"), ("put together", "np.stack([m, n], axis=-1)"),
    ("put together", "np.tile(a[:100], 10)"), ("put together", "np.pad(m, 3)"),
    ("put together", "np.meshgrid(a[:50], b[:50])"), ("put together", "np.array([a[:100], b[:100]])"),
    ("put together", "np.vectorize(lambda x: x * 3)(a)", OBJECT),
    # in and out
    ("in and out", "saved(lambda path: np.save(path, a))", STDIO),
    ("in and out", "saved(lambda path: snp.save(path, a))"),
    ("in and out", "saved(lambda path: a.tofile(path))", STDIO),
    ("in and out", "saved(lambda path: np.savez(path, a=a))", TEXT),
    ("in and out", "read_back(a, np.fromfile)", STDIO), ("in and out", "read_back(a, snp.fromfile)"),
    ("in and out", "read_back(a, np.load)", STDIO), ("in and out", "read_back(a, snp.load)"),
    ("in and out", "saved(lambda path: np.savetxt(path, a))", TEXT, ("'\\n'.join('%.18e' % x for x in a)",)),
    ("in and out", "a.tolist()", OBJECT), ("in and out", "a.tobytes()", TEXT), ("in and out", "str(a)", TEXT),
    ("in and out", "repr(m)", TEXT), ("in and out", "np.array2string(a, threshold=N)", TEXT),
    ("in and out", "np.copy(memoryview(a))"),
)  # fmt: skip
OPERATIONS = {line[1]: Operation(*line) for line in _LINES}
