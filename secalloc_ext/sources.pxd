"""Layer 4: bytes from elsewhere, straight into a slot. The slot is the caller's; after an exception there is none."""
from libc.stdint cimport uint64_t
from secalloc_ext.heapobject cimport Heap, allocate

cdef struct filled_t:
    unsigned char *data
    Py_ssize_t size
    uint64_t generation   # the process that it belongs to, be there a fork before an object takes it over


cdef inline int source_zeros(filled_t *to, Py_ssize_t size, Heap heap, bint guarded) except -1:
    to.data = <unsigned char *>allocate(heap, size, guarded)
    to.size = size
    to.generation = heap.heap.generation
    return 0


cdef int source_random(filled_t *to, Py_ssize_t size, Heap heap, bint guarded) except -1
cdef int source_buffer(filled_t *to, object buffer, Heap heap, bint guarded) except -1    # of any layout, in C order
cdef int source_text(filled_t *to, str text, encoding, errors, Heap heap, bint guarded) except -1
cdef int source_hex(filled_t *to, object digits, Heap heap) except -1
cdef int source_taken(filled_t *to, object buffer, Heap heap) except -1                   # wiped

# Keep the first `size` bytes, or add zeros. After an exception the slot is freed, and `data` NULL.
cdef int source_resize(filled_t *to, Py_ssize_t size, Heap heap) except -1
