"""Layer 4: the slots of CPython's static types that revealed objects fill in, and which interpreters are known."""
from cpython.object cimport PyObject

cdef extern from *:
    """
    /* Objects whose fields are set here, and not by the interpreter: only where it is known how they are laid out. */
    #if defined(Py_GIL_DISABLED)
    #define REVEAL_REFUSED "a free-threaded interpreter counts references and frees objects in another way"
    #elif defined(PYPY_VERSION) || PY_VERSION_HEX >= 0x03100000
    #define REVEAL_REFUSED "this interpreter is newer than those whose objects it knows, CPython 3.11 to 3.15"
    #else
    #define REVEAL_REFUSED NULL
    #endif
    """
    const char *REVEAL_REFUSED     # why not with this interpreter; or NULL

cdef extern from "Python.h":
    ctypedef struct number_slots_t "PyNumberMethods":
        object (*nb_add)(PyObject *left, PyObject *right)
        object (*nb_remainder)(PyObject *left, PyObject *right)
    ctypedef struct sequence_slots_t "PySequenceMethods":
        Py_ssize_t (*sq_length)(PyObject *self) except -1
        object (*sq_concat)(PyObject *self, PyObject *other)
        object (*sq_repeat)(PyObject *self, Py_ssize_t count)
        object (*sq_item)(PyObject *self, Py_ssize_t i)
        int (*sq_contains)(PyObject *self, PyObject *item) except -1
    ctypedef struct mapping_slots_t "PyMappingMethods":
        Py_ssize_t (*mp_length)(PyObject *self) except -1
        object (*mp_subscript)(PyObject *self, PyObject *key)
    ctypedef struct buffer_slots_t "PyBufferProcs":
        int (*bf_getbuffer)(PyObject *self, Py_buffer *view, int flags) except -1
    ctypedef struct type_t "PyTypeObject":
        Py_ssize_t tp_basicsize
        void (*tp_dealloc)(PyObject *self) noexcept
        object (*tp_repr)(PyObject *self)
        object (*tp_str)(PyObject *self)
        object (*tp_iter)(PyObject *self)
        object (*tp_getattro)(PyObject *self, PyObject *name)
        object (*tp_richcompare)(PyObject *self, PyObject *other, int operation)
        Py_hash_t (*tp_hash)(PyObject *self) except? -1
        PyObject *(*tp_alloc)(type_t *type, Py_ssize_t items)
        number_slots_t *tp_as_number
        sequence_slots_t *tp_as_sequence
        mapping_slots_t *tp_as_mapping
        buffer_slots_t *tp_as_buffer
        type_t *tp_base
        PyObject *tp_dict
    type_t PyBytes_Type
    type_t PyUnicode_Type
    type_t *Py_TYPE(PyObject *object) noexcept nogil
    int PyType_Ready(type_t *type) except -1
    void PyType_Modified(type_t *type)
