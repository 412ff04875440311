"""Layer 4: bytes and str read alike, as code points; and those that become a revealed object, collected in secret."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from secalloc_ext.heapobject cimport Heap

cdef struct text_t:          # of a living object: keep a reference
    const uint8_t *data
    int kind                 # bytes a code point: 1, 2 or 4
    Py_ssize_t size          # code points
    bint is_str              # or bytes

cdef int text_open(text_t *text, object revealed) except -1             # RevealedBytes or RevealedStr, or TypeError
cdef Heap text_heap(object revealed)
cdef object text_part(object revealed, const text_t *text, Py_ssize_t start, Py_ssize_t end)   # the whole: itself
cdef bint text_is_there(const text_t *text, Py_ssize_t start, const text_t *wanted) noexcept      # wholly inside
cdef Py_ssize_t text_find(const text_t *text, Py_ssize_t start, const text_t *wanted) noexcept    # from there on; or -1
cdef Py_ssize_t text_find_last(const text_t *text, Py_ssize_t end, const text_t *wanted) noexcept  # before; or -1


cdef inline uint32_t text_at(const text_t *text, Py_ssize_t i) noexcept nogil:
    if text.kind == 1:
        return text.data[i]
    if text.kind == 2:
        return (<const uint16_t *>text.data)[i]
    return (<const uint32_t *>text.data)[i]


cdef class Argument:         # what a method was given, held until this is dropped
    cdef text_t text
    cdef object source
    cdef Py_buffer view
    cdef bint has_view

cdef Argument text_argument(object source, bint is_str)                 # a str, or a buffer; or TypeError


cdef class Points:           # a stack of code points in secret memory, wiped when dropped
    cdef Heap heap
    cdef uint32_t *data
    cdef Py_ssize_t size, room
    cdef int grow(self, Py_ssize_t count) except -1
    cdef int add_range(self, const text_t *text, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int add_many(self, uint32_t c, Py_ssize_t count) except -1
    cdef object become(self, bint is_str)                               # RevealedStr, or RevealedBytes


cdef Points points_for(object revealed, Py_ssize_t room)                 # of the same heap


cdef inline int points_add(Points points, uint32_t c) except -1:
    if points.size == points.room:
        points.grow(1)
    points.data[points.size] = c
    points.size += 1
    return 0
