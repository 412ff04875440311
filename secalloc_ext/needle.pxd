"""Layer 4: a bytes-like argument, looked at where it is, and how it is found in other bytes.

Opening and closing may run Python code, which may wipe or change anything else. In between a needle stays in its place.
The functions that find one look at their haystack until they have it: their time depends on the content of both.
"""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.number cimport PyIndex_Check
from libc.string cimport memchr, memcmp
from secalloc_ext.arguments cimport byte_value
from secalloc_ext.heap cimport heap_owns
from secalloc_ext.prim cimport stack_scrub

cdef extern from "<string.h>" nogil:
    void *memmem(const void *haystack, size_t size, const void *needle, size_t needle_size)
    void *memrchr(const void *haystack, int byte, size_t size)

cdef extern from "search.h" nogil:
    size_t find_pair(const unsigned char *p, size_t size, const unsigned char *pair) noexcept

cdef struct needle_t:
    const unsigned char *data
    Py_ssize_t size
    bint is_viewed        # and `view` is to be released
    unsigned char byte    # what `data` points to, where the argument is a number
    Py_buffer view


cdef inline int needle_open(needle_t *to, object source) except -1:
    """The caller keeps `source` alive."""
    to.is_viewed = not PyBytes_CheckExact(source)
    if to.is_viewed:
        PyObject_GetBuffer(source, &to.view, PyBUF_SIMPLE)
        to.data = <const unsigned char *>to.view.buf
        to.size = to.view.len
    else:
        to.data = <const unsigned char *>PyBytes_AS_STRING(source)
        to.size = PyBytes_GET_SIZE(source)
    return 0


cdef inline int needle_of_byte(needle_t *to, object number) except -1:
    to.is_viewed = False
    to.byte = <unsigned char>byte_value(number)
    to.data = &to.byte
    to.size = 1
    return 0


cdef inline int needle_open_any(needle_t *to, object source) except -1:
    """Bytes, or a number for one byte."""
    if PyObject_CheckBuffer(source):
        return needle_open(to, source)
    if PyIndex_Check(source):
        return needle_of_byte(to, source)
    raise TypeError(f"argument should be integer or bytes-like object, not '{type(source).__name__}'")


cdef inline int needle_close(needle_t *needle) except -1:
    """No trace of a secret one stays on the stack."""
    if needle.is_viewed:
        if needle.size > 1 and heap_owns(needle.data):
            stack_scrub()
        PyBuffer_Release(&needle.view)
    return 0


cdef inline Py_ssize_t find_first(const unsigned char *data, Py_ssize_t size, const needle_t *needle) noexcept:
    """Where the needle is first; -1 where it is not."""
    cdef const unsigned char *at
    cdef Py_ssize_t place
    if needle.size == 1:
        at = <const unsigned char *>memchr(data, needle.data[0], <size_t>size)
    elif needle.size == 2:
        place = <Py_ssize_t>find_pair(data, <size_t>size, needle.data)
        return place if place < size else -1
    else:
        at = <const unsigned char *>memmem(data, <size_t>size, needle.data, <size_t>needle.size)
    return at - data if at != NULL else -1


cdef inline Py_ssize_t find_last(const unsigned char *data, Py_ssize_t size, const needle_t *needle) noexcept:
    cdef const unsigned char *at
    cdef Py_ssize_t starts = size - needle.size + 1   # places where it may begin
    if needle.size == 0:
        return size
    while starts > 0:
        at = <const unsigned char *>memrchr(data, needle.data[0], <size_t>starts)
        if at == NULL:
            break
        if memcmp(at, needle.data, <size_t>needle.size) == 0:
            return at - data
        starts = at - data
    return -1
