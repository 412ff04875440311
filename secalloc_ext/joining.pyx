# cython: language_level=3
"""Layer 4: many bytes-like objects in one SecureBytes."""
from cpython.buffer cimport PyObject_CheckBuffer
from cpython.bytes cimport PyBytes_CheckExact
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.string cimport memcpy
from secalloc_ext.arguments cimport size_sum
from secalloc_ext.needle cimport needle_close, needle_open, needle_t
from secalloc_ext.securebytes cimport SecureBytes, securebytes_add_methods, securebytes_check, securebytes_make

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX


cdef int open_item(needle_t *needle, object item, Py_ssize_t i) except -1:
    if PyBytes_CheckExact(item):
        return needle_open(needle, item)
    if PyObject_CheckBuffer(item):
        try:
            return needle_open(needle, item)
        except BufferError:
            pass  # as all others that have no plain bytes
    raise TypeError(f"sequence item {i}: expected a bytes-like object, {type(item).__name__} found")


cdef SecureBytes joined(SecureBytes self, const needle_t *items, Py_ssize_t count):
    cdef SecureBytes made = SecureBytes.__new__(SecureBytes)
    cdef unsigned char *to
    cdef Py_ssize_t i
    cdef Py_ssize_t size = 0
    securebytes_check(self)
    for i in range(count):
        size = size_sum(size, size_sum(items[i].size, self.size if i > 0 else 0))
    if size == PY_SSIZE_T_MAX:
        raise OverflowError("join() result is too long")
    securebytes_make(made, size, self.heap)
    to = made.data
    for i in range(count):
        if i > 0:
            memcpy(to, self.data, <size_t>self.size)
            to += self.size
        memcpy(to, items[i].data, <size_t>items[i].size)
        to += items[i].size
    return made


def join(SecureBytes self not None, iterable, /):
    """The bytes-like objects of `iterable`, with the bytes of this one between them, in this one's heap."""
    cdef tuple items = tuple(iterable)
    cdef Py_ssize_t count = len(items)
    cdef Py_ssize_t opened = 0
    cdef needle_t *needles = <needle_t *>PyMem_Calloc(<size_t>count, sizeof(needle_t))
    if needles == NULL:
        raise MemoryError()
    try:
        while opened < count:
            open_item(&needles[opened], items[opened], opened)
            opened += 1
        return joined(self, needles, count)
    finally:
        while opened > 0:
            opened -= 1
            needle_close(&needles[opened])
        PyMem_Free(needles)


securebytes_add_methods((join,))
