"""Layer 4: SecureBytes."""
from libc.stdint cimport uint64_t
from secalloc_ext.heapobject cimport Heap

cdef class SecureBytes:
    cdef unsigned char *data       # NULL once given back
    cdef Py_ssize_t size
    cdef Py_ssize_t exports        # buffer views that are out
    cdef uint64_t generation       # the process it belongs to
    cdef bint is_wiped
    cdef readonly bint guarded
    cdef int access                # guarded: access_t asked for
    cdef int effective             # what the pages allow: READ_WRITE while unlocked, unchanged while a view is out
    cdef Py_ssize_t unlocks        # `with unlocked()` blocks that are open, in all threads
    cdef readonly Heap heap
    cdef int adopt(self, SecureBytes other) except -1
    cdef int give_back(self) except -1
    cdef int check(self) except -1           # may be read: or WipedError, ForkedError, ProtectedError
    cdef int check_writable(self) except -1
    cdef int protect(self, int access) except -1
    cdef int settle(self) except -1          # set the pages to what is asked for, unless a view is out

cdef SecureBytes securebytes_new(Py_ssize_t size, Heap heap, bint guarded=*)   # zeroed
