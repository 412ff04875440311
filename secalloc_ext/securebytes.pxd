"""Layer 4: SecureBytes, and what files that add methods to it use. Where a function makes an object, or calls into
Python otherwise, finalizers may run: what was checked before is to be checked again."""
from libc.stdint cimport uint64_t
from secalloc_ext.frame cimport account_is_locked
from secalloc_ext.heapobject cimport Heap
from secalloc_ext.mapping cimport ACCESS_NONE
from secalloc_ext.prim cimport likely
from secalloc_ext.sources cimport filled_t

cdef class SecureBytes:            # no methods of C: with a pointer to a table of them, a new object took gcc a string
    cdef unsigned char *data       # instruction to clear. NULL once given back
    cdef Py_ssize_t size
    cdef Py_ssize_t exports        # buffer views that are out
    cdef uint64_t generation       # the process it belongs to
    cdef bint is_wiped
    cdef readonly bint guarded
    cdef readonly bint frozen      # for ever: nobody writes
    cdef unsigned char access      # guarded: access_t asked for. Frozen: READ at most
    cdef unsigned char effective   # what the pages allow: READ_WRITE while unlocked, unchanged while a view is out
    cdef Py_ssize_t unlocks        # `with unlocked()` blocks that are open, in all threads
    cdef readonly Heap heap

cdef SecureBytes securebytes_new(Py_ssize_t size, Heap heap)                        # zeroed
cdef SecureBytes securebytes_of(filled_t *slot, Heap heap, bint guarded)            # takes the slot over, in any case
cdef SecureBytes securebytes_part(SecureBytes self, Py_ssize_t start, Py_ssize_t count)   # of one that was checked
# For a size that depends on the bytes: `blank` from SecureBytes.__new__ first, then look at them, then this, which runs
# no Python code where it succeeds.
cdef int securebytes_make(SecureBytes blank, Py_ssize_t size, Heap heap) except -1        # zeroed
cdef Heap heap_or_default(object heap)                                              # of an argument `heap=`
cdef int securebytes_refuse(SecureBytes self) except -1                             # says why, or 0
cdef int securebytes_check_writable(SecureBytes self) except -1
cdef int securebytes_settle(SecureBytes self) except -1     # has the pages of a guarded one allow what is asked for
cdef int securebytes_add_methods(tuple methods) except -1                           # functions or staticmethods


cdef inline int securebytes_check(SecureBytes self) except -1:
    """May it be read, by this thread? Or WipedError, ForkedError, ProtectedError."""
    if likely(self.data != NULL and not self.is_wiped and self.generation == self.heap.heap.generation
              and not account_is_locked(&self.heap.heap.account) and self.effective != ACCESS_NONE):
        return 0
    return securebytes_refuse(self)
