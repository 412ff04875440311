"""Layer 4: what a revealed object of the parent process becomes in a forked child."""
from secalloc_ext.prim cimport likely
from secalloc_ext.revealpages cimport reveal_here
from secalloc_ext.revealtype cimport type_t

cdef int revealforked_fill(type_t *type) except -1              # before PyType_Ready
cdef int revealforked_finish(type_t *type) except -1            # behind it
cdef int revealforked_refuse() except -1                        # raises ForkedError
cdef int revealforked_may_reveal() except -1                    # whether this process can, or why not


cdef inline int revealforked_check() except -1:
    """A child without handlers has none of its parent's payloads, and no type that says so. `reveal_here` is there."""
    return 0 if likely(reveal_here[0] != 0) else revealforked_refuse()
