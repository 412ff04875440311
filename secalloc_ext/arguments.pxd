"""Layer 4: what a bytearray takes as a size, a byte, an index, a slice or a hex digit, and how it refuses the rest."""
from cpython.exc cimport PyErr_Clear, PyErr_Occurred
from cpython.long cimport PyLong_CheckExact
from cpython.number cimport PyIndex_Check
from cpython.object cimport PyObject
from cpython.slice cimport PySlice_Unpack
from libc.limits cimport INT_MAX, INT_MIN
from secalloc_ext.prim cimport size_add, size_multiply

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    Py_ssize_t PyLong_AsSsize_t(object number) noexcept   # -1 with an exception set where it does not fit
    Py_ssize_t PyNumber_AsSsize_t_clipped "PyNumber_AsSsize_t"(object number, PyObject *null) except? -1
    ctypedef struct PySliceObject:
        PyObject *start
        PyObject *stop
        PyObject *step


cdef inline bint is_plain_int(object number, Py_ssize_t *value) noexcept:
    """Whether it is an int, of no subclass, that a machine word holds. Runs no code and raises nothing."""
    if not PyLong_CheckExact(number):
        return False
    value[0] = PyLong_AsSsize_t(number)
    if value[0] == -1 and PyErr_Occurred() != NULL:
        PyErr_Clear()
        return False
    return True


cdef inline Py_ssize_t index_size(object size) except -1:
    """A size as bytearray takes it: OverflowError above Py_ssize_t, ValueError below 0."""
    cdef Py_ssize_t count = size
    if count < 0:
        raise ValueError("negative count")
    return count


cdef inline Py_ssize_t size_limit(object max_size) except -1:
    """Of an argument `max_size=`, which is None for no limit; one more byte can be counted in any case."""
    return PY_SSIZE_T_MAX - 1 if max_size is None else min(index_size(max_size), PY_SSIZE_T_MAX - 1)


cdef inline bint is_size(object source, Py_ssize_t *size) except -1:
    """Whether it is a number of bytes to make. An __index__ that refuses, as that of NumPy's arrays, makes it none."""
    if not PyIndex_Check(source):
        return False
    try:
        size[0] = index_size(source)
    except TypeError:
        return False
    return True


cdef inline Py_ssize_t size_sum(Py_ssize_t a, Py_ssize_t b) noexcept:
    """The sum of two sizes; where there is none, one that no machine has."""
    cdef size_t total
    if size_add(<size_t>a, <size_t>b, &total) or total > <size_t>PY_SSIZE_T_MAX:
        return PY_SSIZE_T_MAX
    return <Py_ssize_t>total


cdef inline Py_ssize_t size_product(Py_ssize_t a, Py_ssize_t b) noexcept:
    cdef size_t total
    if size_multiply(<size_t>a, <size_t>b, &total) or total > <size_t>PY_SSIZE_T_MAX:
        return PY_SSIZE_T_MAX
    return <Py_ssize_t>total


cdef inline Py_ssize_t slice_edge(object edge, Py_ssize_t missing) except? -1:
    """An end of the part that a search is for, clipped to what a machine word holds. None is `missing`."""
    if edge is None:
        return missing
    if not PyIndex_Check(edge):
        raise TypeError("slice indices must be integers or None or have an __index__ method")
    return PyNumber_AsSsize_t_clipped(edge, NULL)


cdef inline int int_value(object number) except? -1:
    """An int of C, from an integer only: Cython's own conversion takes 1.5 for 1."""
    cdef Py_ssize_t value = number
    if not INT_MIN <= value <= INT_MAX:
        raise OverflowError("Python int too large to convert to C int")
    return <int>value


cdef inline int byte_value(object value) except -1:
    cdef Py_ssize_t byte
    if not PyIndex_Check(value):
        raise TypeError(f"'{type(value).__name__}' object cannot be interpreted as an integer")
    try:
        byte = value
    except OverflowError:
        byte = -1
    if not 0 <= byte <= 255:
        raise ValueError("byte must be in range(0, 256)")
    return <int>byte


cdef inline int slice_parts(slice key, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t *step) except -1:
    """PySlice_Unpack, sooner done with for `[int:int]`."""
    cdef PySliceObject *parts = <PySliceObject *>key
    if (parts.step == <PyObject *>None and is_plain_int(<object>parts.start, start)
            and is_plain_int(<object>parts.stop, stop)):
        step[0] = 1
        return 0
    return PySlice_Unpack(key, start, stop, step)


cdef inline int hex_digit(Py_UCS4 character) noexcept:
    """0-15 by arithmetic, not by a table that a cache would tell of; -1 for anything else."""
    cdef int c = <int>character if character < 128 else 0
    cdef int digit = (c - 48) if 48 <= c <= 57 else -1
    c |= 32
    return c - 87 if 97 <= c <= 102 else digit
