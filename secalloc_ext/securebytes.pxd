"""Layer 4: SecureBytes."""
from libc.stdint cimport uint64_t
from secalloc_ext.heapobject cimport Heap

cdef class SecureBytes:            # no methods of C: with a pointer to a table of them, a new object took gcc a string
    cdef unsigned char *data       # instruction to clear. NULL once given back
    cdef Py_ssize_t size
    cdef Py_ssize_t exports        # buffer views that are out
    cdef uint64_t generation       # the process it belongs to
    cdef bint is_wiped
    cdef readonly bint guarded
    cdef int access                # guarded: access_t asked for
    cdef int effective             # what the pages allow: READ_WRITE while unlocked, unchanged while a view is out
    cdef Py_ssize_t unlocks        # `with unlocked()` blocks that are open, in all threads
    cdef readonly Heap heap

cdef SecureBytes securebytes_new(Py_ssize_t size, Heap heap)   # zeroed
