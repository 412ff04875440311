# cython: language_level=3
"""Layer 4: the type that a revealed object of the parent has in a forked child.

Its payload is not here, and whoever reads it faults. The fork's handler gives it this type (by one pointer: a child may
run no more than that), so that all that Python does with it is a ForkedError, and its end is without effect.
"""
from cpython.object cimport PyObject, PyObject_GenericGetAttr
from secalloc_ext.errors import ForkedError
from secalloc_ext.revealpages cimport reveal_here
from secalloc_ext.revealtype cimport (
    REVEAL_REFUSED, buffer_slots_t, mapping_slots_t, number_slots_t, sequence_slots_t, type_t)

cdef extern from *:
    """
    static inline void buffer_begin(Py_buffer *view) { view->obj = NULL; } /* as a view that is refused is to have */
    """
    void buffer_begin(Py_buffer *view) noexcept

cdef number_slots_t number
cdef sequence_slots_t sequence
cdef mapping_slots_t mapping
cdef buffer_slots_t buffer


cdef int revealforked_refuse() except -1:
    raise ForkedError("the revealed object belongs to the process that forked this one")


cdef int revealforked_may_reveal() except -1:
    if REVEAL_REFUSED != NULL:
        raise NotImplementedError(f"secalloc cannot reveal: {(<bytes>REVEAL_REFUSED).decode()}")
    if reveal_here == NULL:
        raise MemoryError("no page for the word that tells a child")
    return revealforked_check()


cdef object refuse_one(PyObject *_self):
    revealforked_refuse()


cdef object refuse_two(PyObject *_self, PyObject *_other):
    revealforked_refuse()


cdef object refuse_place(PyObject *_self, Py_ssize_t _i):
    revealforked_refuse()


cdef Py_ssize_t refuse_length(PyObject *_self) except -1:
    return revealforked_refuse()


cdef int refuse_contains(PyObject *_self, PyObject *_item) except -1:
    return revealforked_refuse()


cdef object refuse_comparison(PyObject *_self, PyObject *_other, int _operation):
    revealforked_refuse()


cdef Py_hash_t refuse_hash(PyObject *_self) except? -1:
    return revealforked_refuse()


cdef int refuse_buffer(PyObject *_self, Py_buffer *view, int _flags) except -1:
    buffer_begin(view)
    return revealforked_refuse()


cdef object attribute(PyObject *self, PyObject *name):
    """Its class may be asked for, as `isinstance` does."""
    if <object>name == "__class__":
        return PyObject_GenericGetAttr(<object>self, <object>name)
    revealforked_refuse()


cdef object represent(PyObject *_self):
    return "<revealed in another process>"


def refuse(self, *_arguments):
    """Any method."""
    revealforked_refuse()


cdef int revealforked_fill(type_t *type) except -1:
    type.tp_repr = represent
    type.tp_str = represent
    type.tp_iter = refuse_one
    type.tp_getattro = attribute
    type.tp_richcompare = refuse_comparison
    type.tp_hash = refuse_hash
    type.tp_as_number = &number
    type.tp_as_sequence = &sequence
    type.tp_as_mapping = &mapping
    type.tp_as_buffer = &buffer
    return 0


cdef int revealforked_finish(type_t *type) except -1:
    """The methods that are looked up in the type, and not by an attribute of the object."""
    for name in ("__bytes__", "__format__", "__copy__", "__deepcopy__", "__reduce_ex__", "__getnewargs__",
                 "__sizeof__"):
        (<dict>type.tp_dict)[name] = refuse
    return 0


number.nb_add = number.nb_remainder = refuse_two
sequence.sq_length = refuse_length
sequence.sq_concat = refuse_two
sequence.sq_repeat = sequence.sq_item = refuse_place
sequence.sq_contains = refuse_contains
mapping.mp_length = refuse_length
mapping.mp_subscript = refuse_two
buffer.bf_getbuffer = refuse_buffer
