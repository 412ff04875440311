# cython: language_level=3
"""Layer 4: the type RevealedStr, its objects' beginning and end.

CPython has strings of two pieces, as subclasses of str are. So the header is an ordinary object without secret content,
and the characters are a block of the heap, between canaries as any::

    ordinary   header, what it says: length, kind; data ---.   utf8 ---.
    secret                                     |characters|0|  |as UTF-8|0|     one block where they are ASCII

UTF-8 is made at once: CPython would make it when C code first asks for it, in ordinary memory, and keep it.

It is immutable, belongs to nobody but its references, and is wiped when the last one goes. It is made by `reveal_str`
and the methods of revealed objects; the type cannot be called, nor inherited from.

Thread safety: the GIL, as str. A child's handler goes through the list of all that live, which is whole, read forward,
at every instruction: the thread that forks may be one of C, and have no GIL.
"""
from cpython.object cimport PyObject, Py_EQ, Py_NE
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy
from secalloc_ext.cache cimport heap_t
from secalloc_ext.heap cimport heap_free
from secalloc_ext.heapobject cimport Heap, allocate, view_begin, view_end
from secalloc_ext.mapping cimport mapping_at_fork
from secalloc_ext.prim cimport (
    ERROR_NONE, atomic_store_pointer, bytes_equal_constant_time, likely, unlikely)
from secalloc_ext.revealforked cimport (
    revealforked_check, revealforked_fill, revealforked_may_reveal, revealforked_refuse)
from secalloc_ext.revealpages cimport reveal_here
from secalloc_ext.revealtype cimport Py_TYPE, PyUnicode_Type, type_t
from secalloc_ext.utf8 cimport is_surrogate, utf8_byte, utf8_length

cdef extern from *:
    """
    static PyNumberMethods revealed_number;
    static PySequenceMethods revealed_sequence;
    static PyMappingMethods revealed_mapping;
    static PyTypeObject revealed_str_type = {
        PyVarObject_HEAD_INIT(NULL, 0)
        .tp_name = "secalloc.RevealedStr",
        .tp_doc = "A `str` whose characters lie on secret pages, and are wiped with its last reference.",
        .tp_basicsize = sizeof(revealed_str_t),
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .tp_as_number = &revealed_number,
        .tp_as_sequence = &revealed_sequence,
        .tp_as_mapping = &revealed_mapping,
        .tp_base = &PyUnicode_Type,
    };
    static PyTypeObject forked_str = {
        PyVarObject_HEAD_INIT(NULL, 0)
        .tp_name = "secalloc.RevealedStr",
        .tp_doc = "A RevealedStr of the process that forked this one.",
        .tp_basicsize = sizeof(revealed_str_t),
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .tp_base = &PyUnicode_Type,
    };

    #define compact_of(self) ((PyCompactUnicodeObject *)(self))
    #define ascii_of(self) ((PyASCIIObject *)(self))

    /* The header's fields; the rest of it is zero. `ready` and `wstr` are of 3.11, whose legacy strings have both. */
    static inline void header_set(revealed_str_t *self, Py_ssize_t length, int kind, int is_ascii)
    {
        ascii_of(self)->length = length;
        ascii_of(self)->hash = -1;
        ascii_of(self)->state.kind = (unsigned)kind;
        ascii_of(self)->state.compact = 0;
        ascii_of(self)->state.ascii = (unsigned)is_ascii;
    #if PY_VERSION_HEX < 0x030c0000
        ascii_of(self)->state.ready = 1;
        ascii_of(self)->wstr = kind == sizeof(wchar_t) ? self->characters : NULL;
        compact_of(self)->wstr_length = kind == sizeof(wchar_t) ? length : 0;
    #endif
        compact_of(self)->utf8_length = self->utf8_size;
        compact_of(self)->utf8 = self->utf8;
        self->base.data.any = self->characters;
    }
    static inline void hash_forget(PyObject *self) { ascii_of(self)->hash = -1; }

    /* What Python's own deallocation is to find: nothing to free but, in 3.11, what PyUnicode_AsUnicode made. */
    static inline void header_clear(revealed_str_t *self)
    {
    #if PY_VERSION_HEX < 0x030c0000
        if (ascii_of(self)->wstr == self->characters)
            ascii_of(self)->wstr = NULL;
        if (ascii_of(self)->wstr != NULL)
            wipe(ascii_of(self)->wstr, (size_t)compact_of(self)->wstr_length * sizeof(wchar_t));
        else
            compact_of(self)->wstr_length = 0;
    #endif
        ascii_of(self)->length = 0;
        ascii_of(self)->hash = -1;
        compact_of(self)->utf8_length = 0;
        compact_of(self)->utf8 = NULL;
        self->base.data.any = NULL;
    }
    static inline int header_is_reusable(const revealed_str_t *self)
    {
    #if PY_VERSION_HEX < 0x030c0000
        return ascii_of(self)->wstr == NULL;
    #else
        (void)self;
        return 1;
    #endif
    }
    static inline void header_begin(revealed_str_t *self) { (void)PyObject_Init((PyObject *)self, &revealed_str_type); }
    static inline void type_set(revealed_str_t *self, PyTypeObject *type) { ((PyObject *)self)->ob_type = type; }

    /* Of any str. */
    static inline int text_make_ready(PyObject *text)
    {
    #if PY_VERSION_HEX < 0x030c0000
        return PyUnicode_READY(text);
    #else
        (void)text;
        return 0;
    #endif
    }
    static inline size_t text_bytes(PyObject *text)
    {
        return (size_t)PyUnicode_GET_LENGTH(text) * (size_t)PyUnicode_KIND(text);
    }
    """
    type_t revealed_str_type
    type_t forked_str
    void header_set(revealed_str_t *self, Py_ssize_t length, int kind, bint is_ascii) noexcept
    void header_clear(revealed_str_t *self) noexcept
    bint header_is_reusable(const revealed_str_t *self) noexcept
    void header_begin(revealed_str_t *self) noexcept   # it has one reference
    void hash_forget(PyObject *self) noexcept
    void type_set(revealed_str_t *self, type_t *type) noexcept nogil
    int text_make_ready(PyObject *text) except -1
    size_t text_bytes(PyObject *text) noexcept
    int PyUnicode_KIND(PyObject *text) noexcept
    void *PyUnicode_DATA(PyObject *text) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *text) noexcept
    Py_ssize_t PyUnicode_GetLength(object text) except -1
    Py_UCS4 PyUnicode_ReadChar(object text, Py_ssize_t i) except? 0xffffffff
    const char *PyUnicode_AsUTF8(object text) except NULL

cdef enum:
    HEADERS_MAX = 64

cdef revealed_str_t *all_that_live = NULL
cdef revealed_str_t *free_headers = NULL  # cleared; linked by `next`
cdef size_t free_count = 0
revealedstr_type = &revealed_str_type
revealedstr_forked = &forked_str


# --- code points ------------------------------------------------------------------------------------------------------

ctypedef fused point_t:
    uint8_t
    uint16_t
    uint32_t

ctypedef fused kept_t:
    uint8_t
    uint16_t
    uint32_t

cdef enum:
    HIGH_BITS = 0x8080808080808080

cdef struct survey_t:
    uint32_t bits            # of all points, or-ed: below 128, below 256, ... exactly where each of them is
    Py_ssize_t utf8_size    # -1 where there is a surrogate, which UTF-8 has not


cdef survey_t survey(const point_t *points, Py_ssize_t size) noexcept nogil:
    cdef survey_t result
    cdef Py_ssize_t i
    cdef bint surrogates = False
    result.bits = 0
    for i in range(size):
        result.bits |= points[i]
    result.utf8_size = size
    if result.bits >= 0x80:
        result.utf8_size = 0
        for i in range(size):
            surrogates |= is_surrogate(points[i])
            result.utf8_size += utf8_length(points[i])
    if surrogates:
        result.utf8_size = -1
    return result


cdef void copy_points(kept_t *to, const point_t *points, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    if sizeof(kept_t) == sizeof(point_t):
        memcpy(to, points, <size_t>size * sizeof(point_t))
        return
    for i in range(size):
        to[i] = <kept_t>points[i]


cdef void write_utf8(uint8_t *to, const point_t *points, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    cdef int k, length
    for i in range(size):
        length = utf8_length(points[i])
        for k in range(length):
            to[k] = utf8_byte(points[i], k, length)
        to += length


# --- beginning --------------------------------------------------------------------------------------------------------

cdef revealed_str_t *header_new() except NULL:
    global free_headers, free_count
    cdef revealed_str_t *self = free_headers
    if self == NULL:
        self = <revealed_str_t *>revealed_str_type.tp_alloc(&revealed_str_type, 0)
        if self == NULL:
            raise MemoryError()
        return self
    free_headers = self.next
    free_count -= 1
    header_begin(self)
    return self


cdef object revealedstr_adopt(Heap heap, void *characters, void *utf8, Py_ssize_t utf8_size, Py_ssize_t length,
                              int kind):
    cdef revealed_str_t *self
    try:
        self = header_new()
    except MemoryError:
        heap_free(characters)
        heap_free(NULL if utf8 == characters else utf8)
        raise
    self.owner = <PyObject *>heap
    Py_INCREF(heap)
    view_begin(heap)
    self.place = heap.heap
    self.generation = heap.heap.generation
    self.characters = characters
    self.utf8 = utf8
    self.utf8_size = utf8_size
    header_set(self, length, kind, utf8 == characters)
    self.next = all_that_live
    self.previous = NULL
    if self.next != NULL:
        self.next.previous = self
    link_first(self)
    made = <object><PyObject *>self
    Py_DECREF(made)
    return made


cdef void link_first(revealed_str_t *self) noexcept nogil:
    global all_that_live
    atomic_store_pointer(<void **>&all_that_live, self)


cdef object of_points(Heap heap, const point_t *points, Py_ssize_t size):
    cdef survey_t seen = survey(points, size)
    cdef int kind = 1 if seen.bits < 0x100 else 2 if seen.bits < 0x10000 else 4
    cdef void *characters = allocate(heap, (size + 1) * kind, False)
    cdef void *utf8 = characters
    if kind == 1:
        copy_points(<uint8_t *>characters, points, size)
    elif kind == 2:
        copy_points(<uint16_t *>characters, points, size)
    else:
        copy_points(<uint32_t *>characters, points, size)
    if seen.utf8_size < 0:
        return revealedstr_adopt(heap, characters, NULL, 0, size, kind)
    if seen.bits >= 0x80:
        try:
            utf8 = allocate(heap, seen.utf8_size + 1, False)
        except BaseException:
            heap_free(characters)
            raise
        write_utf8(<uint8_t *>utf8, points, size)
    return revealedstr_adopt(heap, characters, utf8, seen.utf8_size, size, kind)


cdef int try_layout(Heap heap) except -1:
    """Whether the interpreter sees in such objects what we put there. Once, on some without a secret."""
    cdef uint32_t[3] points
    cdef object made
    cdef revealed_str_t *self
    global revealedstr_is_known
    for text in ("abc", "ab\xff", "ab\u20ac", "ab\U0001f511"):
        points[0], points[1], points[2] = text[0], text[1], text[2]
        made = of_points(heap, <const uint32_t *>points, 3)
        self = <revealed_str_t *><PyObject *>made
        if not (PyUnicode_Check(made) and PyUnicode_GetLength(made) == 3 and PyUnicode_ReadChar(made, 2) == points[2]
                and PyUnicode_AsUTF8(made) == <const char *>self.utf8 and made == text and hash(made) == hash(text)
                and made.isascii() == text.isascii() and made.find(text[1:]) == 1):
            raise NotImplementedError("secalloc cannot reveal: this interpreter's str is laid out in an unknown way")
    revealedstr_is_known = True
    return 0


cdef int revealedstr_ready(Heap heap) except -1:
    revealforked_may_reveal()
    if not revealedstr_is_known:
        try_layout(heap)
    return 0


cdef object revealedstr_of_ascii(Heap heap, const void *characters, Py_ssize_t size):
    cdef void *copy
    if unlikely(not revealedstr_is_known or reveal_here[0] == 0):
        revealedstr_ready(heap)
    if size == 0:   # no secret
        return ""
    copy = allocate(heap, size + 1, False)   # zeroed: so is what ends it
    memcpy(copy, characters, <size_t>size)
    return revealedstr_adopt(heap, copy, copy, size, size, 1)


cdef object revealedstr_of(Heap heap, const void *points, int kind, Py_ssize_t size):
    if unlikely(not revealedstr_is_known or reveal_here[0] == 0):
        revealedstr_ready(heap)
    if size == 0:   # no secret
        return ""
    if kind == 1:
        return of_points(heap, <const uint8_t *>points, size)
    if kind == 2:
        return of_points(heap, <const uint16_t *>points, size)
    return of_points(heap, <const uint32_t *>points, size)


# --- end --------------------------------------------------------------------------------------------------------------

cdef void unlink(revealed_str_t *self) noexcept:
    if self.next != NULL:
        self.next.previous = self.previous
    if self.previous != NULL:
        atomic_store_pointer(<void **>&self.previous.next, self.next)
    else:
        link_first(self.next)


cdef void end(PyObject *object) noexcept:
    global free_headers, free_count
    cdef revealed_str_t *self = <revealed_str_t *>object
    cdef PyObject *owner = self.owner
    unlink(self)
    # In a child without handlers the blocks are holes; in one with them the heap knows what was its parent's.
    if likely(reveal_here[0] != 0):
        if self.utf8 != self.characters:
            heap_free(self.utf8)
        heap_free(self.characters)
    header_clear(self)
    if free_count < HEADERS_MAX and header_is_reusable(self):
        self.next = free_headers
        free_headers = self
        free_count += 1
    else:
        PyUnicode_Type.tp_dealloc(object)
    view_end(<Heap>owner)
    Py_DECREF(<object>owner)


cdef void tell_forked() noexcept nogil:
    """In a child, when the heaps have told what is inherited."""
    cdef revealed_str_t *self = all_that_live
    while self != NULL:
        if self.generation != (<heap_t *>self.place).generation:
            type_set(self, &forked_str)
        self = self.next


# --- slots ------------------------------------------------------------------------------------------------------------

cdef object represent(PyObject *self):
    return f"<RevealedStr {PyUnicode_GET_LENGTH(self)} characters>"


cdef object itself(PyObject *self):
    """str(s): it is one."""
    return <object>self


cdef Py_hash_t hash_of(PyObject *self) except? -1:
    """As of str, but not kept: the header is ordinary memory."""
    cdef Py_hash_t value
    revealforked_check()
    value = PyUnicode_Type.tp_hash(self)
    hash_forget(self)
    return value


cdef object compare(PyObject *self, PyObject *other, int operation):
    """Whether it is equal to a str takes a time that depends on the lengths only. The rest is as of str."""
    cdef bint equal
    revealforked_check()
    if operation != Py_EQ and operation != Py_NE or not PyUnicode_Check(<object>other):
        return PyUnicode_Type.tp_richcompare(self, other, operation)
    if Py_TYPE(other) == &forked_str:
        revealforked_refuse()
    text_make_ready(other)
    # Each str is of the narrowest kind that holds it: of another kind, it is another.
    equal = (PyUnicode_KIND(self) == PyUnicode_KIND(other) and text_bytes(self) == text_bytes(other)
             and bytes_equal_constant_time(<uint8_t *>PyUnicode_DATA(self), <uint8_t *>PyUnicode_DATA(other),
                                           text_bytes(self)))
    return equal == (operation == Py_EQ)


revealed_str_type.tp_dealloc = end
revealed_str_type.tp_repr = represent
revealed_str_type.tp_str = itself
revealed_str_type.tp_hash = hash_of
revealed_str_type.tp_richcompare = compare
forked_str.tp_dealloc = end
revealforked_fill(&forked_str)
if mapping_at_fork(NULL, NULL, tell_forked) != ERROR_NONE:
    raise MemoryError("no room for a fork handler")
