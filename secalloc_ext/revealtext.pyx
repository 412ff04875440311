# cython: language_level=3
"""Layer 4: what the methods of revealed objects are made of: reading bytes and str alike, and making new ones.

The methods of bytes and those of str differ in what is a space, a line's end or a capital, and in little else.
"""
cimport cython

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy
from secalloc_ext.heap cimport heap_free, heap_realloc
from secalloc_ext.heapobject cimport Heap, raise_error
from secalloc_ext.revealedbytes cimport (
    revealedbytes_forked, revealedbytes_heap, revealedbytes_is, revealedbytes_new)
from secalloc_ext.revealedstr cimport revealed_str_t, revealedstr_forked, revealedstr_is, revealedstr_of
from secalloc_ext.revealforked cimport revealforked_refuse
from secalloc_ext.revealpages cimport reveal_here
from secalloc_ext.revealtype cimport Py_TYPE

cdef extern from *:
    """
    static inline int make_ready(PyObject *text)
    {
    #if PY_VERSION_HEX < 0x030c0000
        return PyUnicode_READY(text);
    #else
        (void)text;
        return 0;
    #endif
    }
    """
    int make_ready(PyObject *text) except -1
    int PyUnicode_KIND(PyObject *text) noexcept
    void *PyUnicode_DATA(PyObject *text) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *text) noexcept
    const char *PyBytes_AS_STRING(PyObject *data) noexcept
    Py_ssize_t PyBytes_GET_SIZE(PyObject *data) noexcept

cdef enum:
    ROOM_MIN = 32          # code points


cdef int of_str(text_t *text, PyObject *source) except -1:
    make_ready(source)
    text.data = <const uint8_t *>PyUnicode_DATA(source)
    text.kind = PyUnicode_KIND(source)
    text.size = PyUnicode_GET_LENGTH(source)
    text.is_str = True
    return 0


cdef int text_open(text_t *text, object revealed) except -1:
    cdef PyObject *self = <PyObject *>revealed
    if Py_TYPE(self) in (revealedbytes_forked, revealedstr_forked) or reveal_here != NULL and reveal_here[0] == 0:
        revealforked_refuse()
    if revealedbytes_is(self):
        text.data = <const uint8_t *>PyBytes_AS_STRING(self)
        text.kind = 1
        text.size = PyBytes_GET_SIZE(self)
        text.is_str = False
    elif revealedstr_is(self):
        of_str(text, self)
    else:
        raise TypeError(f"the method is of a revealed object, not of {type(revealed).__name__}")
    return 0


cdef Heap text_heap(object revealed):
    cdef PyObject *self = <PyObject *>revealed
    return revealedbytes_heap(self) if revealedbytes_is(self) else <Heap>(<revealed_str_t *>self).owner


cdef object text_part(object revealed, const text_t *text, Py_ssize_t start, Py_ssize_t end):
    cdef unsigned char *payload = NULL
    if start >= end:
        return "" if text.is_str else b""
    if start == 0 and end == text.size:
        return revealed
    if text.is_str:
        return revealedstr_of(text_heap(revealed), text.data + start * text.kind, text.kind, end - start)
    made = revealedbytes_new(text_heap(revealed), end - start, &payload)
    memcpy(payload, text.data + start, <size_t>(end - start))
    return made


cdef bint text_is_there(const text_t *text, Py_ssize_t start, const text_t *wanted) noexcept:
    """Whether `wanted` stands at `start`, wholly inside."""
    cdef Py_ssize_t i
    if start < 0 or start + wanted.size > text.size:
        return False
    for i in range(wanted.size):
        if text_at(text, start + i) != text_at(wanted, i):
            return False
    return True


cdef Py_ssize_t text_find(const text_t *text, Py_ssize_t start, const text_t *wanted) noexcept:
    """The first place from `start` on; or -1."""
    while start + wanted.size <= text.size:
        if text_is_there(text, start, wanted):
            return start
        start += 1
    return -1


cdef Py_ssize_t text_find_last(const text_t *text, Py_ssize_t end, const text_t *wanted) noexcept:
    """The last place that ends at `end` or before; or -1."""
    cdef Py_ssize_t start = end - wanted.size
    while start >= 0 and not text_is_there(text, start, wanted):
        start -= 1
    return start if start >= 0 else -1


@cython.final
@cython.no_gc
cdef class Argument:
    def __dealloc__(self):
        if self.has_view:
            PyBuffer_Release(&self.view)


cdef Argument text_argument(object source, bint is_str):
    cdef Argument argument = Argument.__new__(Argument)
    argument.source = source
    if not is_str:
        PyObject_GetBuffer(source, &argument.view, PyBUF_SIMPLE)
        argument.has_view = True
        argument.text.data = <const uint8_t *>argument.view.buf
        argument.text.kind = 1
        argument.text.size = argument.view.len
    elif not PyUnicode_Check(source):
        raise TypeError(f"must be str, not {type(source).__name__}")
    elif Py_TYPE(<PyObject *>source) == revealedstr_forked:
        revealforked_refuse()
    else:
        of_str(&argument.text, <PyObject *>source)
    return argument


@cython.final
@cython.no_gc
cdef class Points:
    def __dealloc__(self):
        heap_free(self.data)

    cdef int grow(self, Py_ssize_t count) except -1:
        """Have room for `count` more."""
        cdef void *moved
        cdef Py_ssize_t wanted = self.size + count
        if wanted <= self.room:
            return 0
        if wanted > (<Py_ssize_t>(<size_t>-1 >> 1)) // 8 or count < 0:
            raise OverflowError("the result is too long")
        wanted = max(wanted, 2 * self.room, ROOM_MIN)
        moved = heap_realloc(self.heap.get(), self.data, <size_t>wanted * sizeof(uint32_t), False)
        if moved == NULL:
            raise_error(self.heap.get(), wanted * <Py_ssize_t>sizeof(uint32_t))
        self.data = <uint32_t *>moved
        self.room = wanted
        return 0

    cdef int add_range(self, const text_t *text, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef Py_ssize_t i
        if start >= end:
            return 0
        self.grow(end - start)
        for i in range(start, end):
            self.data[self.size] = text_at(text, i)
            self.size += 1
        return 0

    cdef int add_many(self, uint32_t c, Py_ssize_t count) except -1:
        cdef Py_ssize_t i
        if count <= 0:
            return 0
        self.grow(count)
        for i in range(self.size, self.size + count):
            self.data[i] = c
        self.size += count
        return 0

    cdef object become(self, bint is_str):
        cdef unsigned char *payload = NULL
        cdef Py_ssize_t i
        if is_str:
            return revealedstr_of(self.heap, self.data, 4, self.size)
        made = revealedbytes_new(self.heap, self.size, &payload)
        for i in range(self.size):
            payload[i] = <unsigned char>self.data[i]
        return made


cdef Points points_for(object self, Py_ssize_t room):
    cdef Points points = Points.__new__(Points)
    points.heap = text_heap(self)
    points.grow(room)
    return points
