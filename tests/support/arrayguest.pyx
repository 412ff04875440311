# cython: language_level=3, boundscheck=False, wraparound=False
"""Somebody's extension that uses arrays: by typed memoryview, and by numpy's C API."""
cimport numpy as np

np.import_array()


def total(const double[:] a):
    cdef double result = 0
    cdef Py_ssize_t i
    with nogil:
        for i in range(a.shape[0]):
            result += a[i]
    return result


def address(double[::1] a):
    return <size_t>&a[0]


def put(double[::1] a, Py_ssize_t i, double value):
    """Where `i` says, without a look at the bounds."""
    a[i] = value


def peek(const double[::1] a, Py_ssize_t i):
    return a[i]


def put_unasked(np.ndarray a, Py_ssize_t i, double value):
    """As C code does that does not ask for the flags."""
    (<double *>np.PyArray_DATA(a))[i] = value


def made(np.npy_intp size):
    """Arrays that C makes: zeros, nothing in them, a copy, and a conversion."""
    first = np.PyArray_ZEROS(1, &size, np.NPY_DOUBLE, 0)
    second = np.PyArray_SimpleNew(1, &size, np.NPY_FLOAT)
    return first, second, np.PyArray_NewCopy(first, np.NPY_CORDER), np.PyArray_Cast(first, np.NPY_INT64)


def absurd():
    cdef np.npy_intp size = 1 << 50
    return np.PyArray_ZEROS(1, &size, np.NPY_DOUBLE, 0)
