"""Layer 4: what a revealed object of the parent process becomes in a forked child."""
from secalloc_ext.revealtype cimport type_t

cdef int revealforked_fill(type_t *type) except -1              # before PyType_Ready
cdef int revealforked_finish(type_t *type) except -1            # behind it
cdef int revealforked_refuse() except -1                        # raises ForkedError
