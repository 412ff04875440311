"""Layer 4: RevealedStr, a true `str` whose characters are in secret memory."""
from cpython.object cimport PyObject
from secalloc_ext.heapobject cimport Heap
from secalloc_ext.revealtype cimport Py_TYPE, type_t

cdef extern from *:
    """
    #ifndef SECALLOC_REVEALEDSTR_H
    #define SECALLOC_REVEALEDSTR_H
    typedef struct revealed_str {
        PyUnicodeObject base;
        struct revealed_str *next, *previous;   /* all that live */
        PyObject *owner;                        /* the Heap that the blocks lie in: a reference */
        void *place;                            /* its heap_t */
        uint64_t generation;                    /* the process that they belong to */
        void *characters, *utf8;                /* blocks: the same one where it is ASCII, or no utf8 */
        Py_ssize_t utf8_size;
    } revealed_str_t;
    #endif
    """
    ctypedef struct revealed_str_t:
        revealed_str_t *next
        revealed_str_t *previous
        PyObject *owner
        void *place
        unsigned long long generation
        void *characters
        void *utf8
        Py_ssize_t utf8_size

cdef type_t *revealedstr_type
cdef type_t *revealedstr_forked
cdef bint revealedstr_is_known      # what `_ready` finds out

cdef int revealedstr_ready(Heap heap) except -1         # or why not here; runs Python code, the first time

# A str of `size` code points of `kind` bytes each (1, 2 or 4), none above U+10FFFF; copied. Of 0: "".
cdef object revealedstr_of(Heap heap, const void *points, int kind, Py_ssize_t size)
cdef object revealedstr_of_ascii(Heap heap, const void *characters, Py_ssize_t size)
# Of two filled blocks of the heap, each with a zero behind it, which are taken over in any case. Or of one: `utf8` is
# `characters` where they are ASCII, NULL where they are not to be had as UTF-8. `revealedstr_ready` was called.
cdef object revealedstr_adopt(Heap heap, void *characters, void *utf8, Py_ssize_t utf8_size, Py_ssize_t length,
                              int kind)


cdef inline bint revealedstr_is(PyObject *candidate) noexcept:
    return Py_TYPE(candidate) == revealedstr_type
