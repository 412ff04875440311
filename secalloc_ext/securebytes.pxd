"""Layer 4: SecureBytes."""
from libc.stdint cimport uint64_t
from secalloc_ext.heapobject cimport Heap

cdef class SecureBytes:
    cdef unsigned char *data       # NULL once given back
    cdef Py_ssize_t size
    cdef Py_ssize_t exports        # buffer views that are out
    cdef uint64_t generation       # the process it belongs to
    cdef bint is_wiped
    cdef readonly Heap heap
    cdef int adopt(self, SecureBytes other) except -1
    cdef int give_back(self) except -1
    cdef int check(self) except -1  # raises WipedError, ForkedError

cdef SecureBytes securebytes_new(Py_ssize_t size, Heap heap)       # zeroed
