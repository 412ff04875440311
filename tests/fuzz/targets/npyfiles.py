"""`secalloc.numpy.load` of hostile files: what numpy takes without pickles is the same array here, what it refuses is
refused.

Archives, which numpy unpacks, are refused. The input is the file.
"""
import io
import os
import warnings

import numpy as np

import secalloc.numpy as snp
from fuzz.behaviour import kind, saw, size
from fuzz.compare import is_error, outcome
from secalloc import Heap
from secalloc_ext.heapobject import DEFAULT

HEAP = Heap("files", limit="16 MiB")  # a header may tell of any size
HEAPS = (DEFAULT, HEAP)


def file_of(array, version=None):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


TOKENS = (
    b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00", b"\x93NUMPY\x03\x00", b"v\x00", b"\x76\x00\x00\x00", b"{", b"}", b"\n",
    b", ",
    b"'descr': ", b"'fortran_order': ", b"'shape': ", b"True", b"False", b"(3,)", b"()", b"(2, 2)", b"(0,)", b"(-1,)",
    b"(1L,)",
    b"(99999999999,)", b"(4294967296, 4294967296)", b"'<f8'", b"'|u1'", b"'|O'", b"'<U4'", b"'|S3'", b"'>i2'",
    b"'<M8[s]'", b"'|V5'",
    b"[('a', '<i4'), ('b', '|u1', (2,))]", b"[('\xc3\xa9', '<i4')]", b"None", b"[]", b"('<i4', (2,))", b"1e9",
    b"\x00" * 8, b"PK\x03\x04",
    b"'" * 3, b"((", b"__import__('os')", b"\\", b"'|S0'", b"'<f16'", b"True, 'extra': 1", b"# \n", b"\xff\xff",
    b"\x80\x04N.",
    file_of(np.arange(3)), file_of(np.array(2.5)), file_of(np.zeros((2, 3), "f4", "F")), file_of(np.zeros(0, "S4")),
    file_of(np.array([(1, 2)], "i2,u1")), file_of(np.array(["a\u20ac"])), file_of(np.zeros(2), (2, 0)),
    file_of(np.zeros(2), (3, 0)),
)  # fmt: skip


def as_numpy(data):
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        raise ValueError("an archive")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        return np.load(io.BytesIO(data), allow_pickle=False)


def as_ours(file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return snp.load(file, heap=HEAP)


def compare(answer, expected, lenient):
    """`lenient`: headers of version 3 are read as those of version 2, which may be such as Python 2 wrote."""
    if is_error(expected):
        assert is_error(answer) or lenient, "what numpy refuses was taken"
        if not is_error(answer):
            return
        assert issubclass(answer, (ValueError, EOFError, TypeError, MemoryError, SyntaxError)), (
            f"load raised {answer.__name__}"
        )
    elif expected.dtype.hasobject:
        assert answer is TypeError
    else:
        assert not is_error(answer), f"what numpy takes was refused with {answer.__name__}"
        assert (answer.shape, answer.dtype, answer.strides) == (expected.shape, expected.dtype, expected.strides)
        assert answer.tobytes() == expected.tobytes()
        assert snp.is_secret(answer)


def check(data):
    lenient = data[6:7] == b"\x03"
    expected = outcome(as_numpy, data)
    answer = outcome(as_ours, io.BytesIO(data))
    saw(
        kind(answer),
        kind(expected),
        None if is_error(expected) else (expected.dtype.kind, expected.ndim, size(expected.size)),
        data[6:7],
    )
    compare(answer, expected, lenient)
    descriptor = os.memfd_create("file")
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        compare(outcome(as_ours, descriptor), expected, lenient)
    finally:
        os.close(descriptor)
