# cython: language_level=3
"""Layer 4: the type RevealedBytes, its objects' beginning and end.

An object lies across a page boundary, see `revealpages`::

    ordinary page                                            |secret pages
    ... |Heap|reference count, type, size, cached hash: header|payload|0|c c c

It is immutable, belongs to nobody but its references, and is wiped when the last one goes. It is made by `reveal` and
the methods of revealed objects; the type cannot be called, nor inherited from.

Thread safety: the GIL, as bytes.
"""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AsString, PyBytes_Check, PyBytes_Size
from cpython.object cimport PyObject, Py_EQ, Py_NE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t
from secalloc_ext.cache cimport heap_t
from secalloc_ext.frame cimport frame_t
from secalloc_ext.heap cimport heap_alloc_revealed
from secalloc_ext.heapobject cimport Heap, raise_error, view_begin, view_end
from secalloc_ext.mapping cimport mapping_at_fork
from secalloc_ext.prim cimport ERROR_NONE, bytes_equal_constant_time, likely, unlikely
from secalloc_ext.revealforked cimport revealforked_check, revealforked_fill, revealforked_may_reveal
from secalloc_ext.revealpages cimport reveal_give, reveal_here, reveal_inherited, reveal_take
from secalloc_ext.revealtype cimport Py_TYPE, PyBytes_Type, type_t

cdef extern from *:
    """
    static PyNumberMethods revealed_number;
    static PySequenceMethods revealed_sequence;
    static PyMappingMethods revealed_mapping;
    static PyTypeObject revealed_bytes = {
        PyVarObject_HEAD_INIT(NULL, 0)
        .tp_name = "secalloc.RevealedBytes",
        .tp_doc = "A `bytes` whose payload lies on secret pages, and is wiped with its last reference.",
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .tp_as_number = &revealed_number,
        .tp_as_sequence = &revealed_sequence,
        .tp_as_mapping = &revealed_mapping,
        .tp_base = &PyBytes_Type,
    };
    static PyTypeObject forked_bytes = {
        PyVarObject_HEAD_INIT(NULL, 0)
        .tp_name = "secalloc.RevealedBytes",
        .tp_doc = "A RevealedBytes of the process that forked this one.",
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .tp_base = &PyBytes_Type,
    };

    enum { HEADER_BYTES = offsetof(PyBytesObject, ob_sval) };

    static inline PyObject *object_at(unsigned char *payload) { return (PyObject *)(payload - HEADER_BYTES); }
    static inline unsigned char *payload_of(PyObject *self) { return (unsigned char *)self + HEADER_BYTES; }
    /* The Heap that the payload lies in: a reference, held in front of the header. */
    static inline PyObject **owner_of(PyObject *self) { return (PyObject **)self - 1; }
    static inline void type_set(PyObject *self, PyTypeObject *type) { self->ob_type = type; }
    _Pragma("GCC diagnostic push")
    _Pragma("GCC diagnostic ignored \\"-Wdeprecated-declarations\\"")
    static inline void hash_forget(PyObject *self) { ((PyBytesObject *)self)->ob_shash = -1; }
    _Pragma("GCC diagnostic pop")
    static inline PyObject *header_write(PyObject *self, Py_ssize_t size)
    {
        PyObject_InitVar((PyVarObject *)self, &revealed_bytes, size);
        hash_forget(self);
        return self;
    }
    """
    type_t revealed_bytes
    type_t forked_bytes
    PyObject *object_at(unsigned char *payload) noexcept nogil
    unsigned char *payload_of(PyObject *self) noexcept nogil
    PyObject **owner_of(PyObject *self) noexcept nogil
    void type_set(PyObject *self, type_t *type) noexcept nogil
    void hash_forget(PyObject *self) noexcept
    object header_write(PyObject *self, Py_ssize_t size)   # a new reference
    Py_ssize_t Py_SIZE(PyObject *self) noexcept

cdef unsigned char nothing = 0
revealedbytes_type = &revealed_bytes
revealedbytes_forked = &forked_bytes


# --- beginning --------------------------------------------------------------------------------------------------------

cdef object make(Heap heap, Py_ssize_t size, unsigned char **payload):
    cdef heap_t *target = heap.heap if likely(heap.heap != NULL) else heap.get()
    cdef PyObject *made
    payload[0] = reveal_take(&target.revealed, &target.large, &target.account, <size_t>size)
    if unlikely(payload[0] == NULL):
        payload[0] = <unsigned char *>heap_alloc_revealed(target, <size_t>size)
        if payload[0] == NULL:
            raise_error(target, size)
    made = object_at(payload[0])
    owner_of(made)[0] = <PyObject *>heap
    Py_INCREF(heap)
    view_begin(heap)
    return header_write(made, size)


cdef int try_layout(Heap heap) except -1:
    """Whether the interpreter sees in such an object what we put there. Once, on one without a secret."""
    cdef unsigned char *payload = NULL
    cdef object made = make(heap, 3, &payload)
    payload[0], payload[1], payload[2] = 97, 98, 99
    global revealedbytes_is_known
    if not (PyBytes_Check(made) and PyBytes_Size(made) == 3 and <unsigned char *>PyBytes_AsString(made) == payload
            and made == b"abc" and hash(made) == hash(b"abc") and made.find(b"c") == 2):
        raise NotImplementedError("secalloc cannot reveal: this interpreter's bytes are laid out in an unknown way")
    revealedbytes_is_known = True
    return 0


cdef int revealedbytes_ready(Heap heap) except -1:
    revealforked_may_reveal()
    if not revealedbytes_is_known:
        try_layout(heap)
    return 0


cdef object revealedbytes_new(Heap heap, Py_ssize_t size, unsigned char **payload):
    if unlikely(not revealedbytes_is_known or reveal_here[0] == 0):
        revealedbytes_ready(heap)
    if unlikely(size == 0):  # no secret, and no page
        payload[0] = &nothing
        return b""
    return make(heap, size, payload)


# --- end --------------------------------------------------------------------------------------------------------------

cdef inline void let_go(PyObject *owner) noexcept:
    """Of the Heap: the last thing of an object, whose header may be another's by now."""
    view_end(<Heap>owner)
    Py_DECREF(<object>owner)


cdef void end(PyObject *self) noexcept:
    cdef PyObject *owner = owner_of(self)[0]
    cdef heap_t *heap = (<Heap>owner).heap
    if likely(reveal_here[0] != 0):   # in a child without handlers the payload is a hole
        reveal_give(&heap.revealed, &heap.large, payload_of(self))
    let_go(owner)


cdef void end_forked(PyObject *self) noexcept:
    """The header's page stays: its address is the parent's for ever."""
    let_go(owner_of(self)[0])


cdef void tell_forked() noexcept nogil:
    """In a child, when the heaps have told what is inherited."""
    cdef frame_t *frame = reveal_inherited(NULL)
    cdef PyObject *self
    while frame != NULL:
        self = object_at(frame.start)
        if Py_TYPE(self) == &revealed_bytes:
            type_set(self, &forked_bytes)
        frame = reveal_inherited(frame)


# --- slots ------------------------------------------------------------------------------------------------------------

cdef Heap revealedbytes_heap(PyObject *self):
    return <Heap>owner_of(self)[0]


cdef object represent(PyObject *self):
    return f"<RevealedBytes {Py_SIZE(self)} bytes>"


cdef Py_hash_t hash_of(PyObject *self) except? -1:
    """As of bytes, but not kept: the header is ordinary memory."""
    cdef Py_hash_t value
    revealforked_check()
    value = PyBytes_Type.tp_hash(self)
    hash_forget(self)
    return value


cdef object compare(PyObject *self, PyObject *other, int operation):
    """Whether it is equal to a buffer takes a time that depends on the lengths only. The rest is as of bytes."""
    cdef Py_buffer view
    cdef bint equal
    revealforked_check()
    if operation != Py_EQ and operation != Py_NE or not PyObject_CheckBuffer(<object>other):
        return PyBytes_Type.tp_richcompare(self, other, operation)
    try:
        PyObject_GetBuffer(<object>other, &view, PyBUF_SIMPLE)
    except BufferError:   # of memory with gaps: its own comparison can do that
        return NotImplemented
    equal = view.len == Py_SIZE(self) and bytes_equal_constant_time(
        payload_of(self), <const uint8_t *>view.buf, <size_t>view.len)
    PyBuffer_Release(&view)
    return equal == (operation == Py_EQ)


revealed_bytes.tp_dealloc = end
revealed_bytes.tp_repr = revealed_bytes.tp_str = represent
revealed_bytes.tp_hash = hash_of
revealed_bytes.tp_richcompare = compare
forked_bytes.tp_dealloc = end_forked
revealforked_fill(&forked_bytes)
if mapping_at_fork(NULL, NULL, tell_forked) != ERROR_NONE:
    raise MemoryError("no room for a fork handler")
