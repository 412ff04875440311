"""Layer 4: RevealedBytes, a true `bytes` whose payload is secret memory."""
from cpython.object cimport PyObject
from secalloc_ext.heapobject cimport Heap
from secalloc_ext.revealtype cimport Py_TYPE, type_t

cdef type_t *revealedbytes_type
cdef type_t *revealedbytes_forked
cdef bint revealedbytes_is_known      # what `_ready` finds out

cdef int revealedbytes_ready(Heap heap) except -1       # or why not here; runs Python code, the first time

# Of `size` bytes at `payload`, all to be filled before anybody sees it. Runs no Python code but to raise. Of 0: b"".
cdef object revealedbytes_new(Heap heap, Py_ssize_t size, unsigned char **payload)
cdef Heap revealedbytes_heap(PyObject *self)


cdef inline bint revealedbytes_is(PyObject *candidate) noexcept:
    return Py_TYPE(candidate) == revealedbytes_type
