"""Layer 4: the Python face of a heap, and the way from an ERROR_* to an exception."""
from secalloc_ext.cache cimport heap_t

cdef class Heap:
    cdef heap_t *heap              # NULL in the default heap's object until first use
    cdef readonly str name
    cdef Py_ssize_t views          # buffer views of its objects that are out
    cdef object __weakref__
    cdef heap_t *get(self) except NULL
    cdef int check_lock(self, int error) except -1

cdef Heap default_heap()
cdef void *allocate(Heap heap, Py_ssize_t size, bint guarded) except NULL       # zeroed, or raises
cdef int raise_error(heap_t *heap, Py_ssize_t size) except -1     # the thread's last error; heap may be NULL
