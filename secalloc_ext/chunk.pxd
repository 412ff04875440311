"""Layer 2: the reservation, and chunks mapped into it."""
from libc.stdint cimport uint8_t, uint32_t
from secalloc_ext.frame cimport account_t, frame_t

cdef struct reservation_t:
    # `base` and `frames` are constant once `bytes` is not 0: read that, or `used`, first, with acquire.
    uint8_t *base
    size_t bytes
    frame_t *frames        # one record a frame
    size_t used            # bytes from base to the end of the last frame ever used: where records can be read

cdef reservation_t reservation                                             # set once by chunk_init; `used` grows

cdef int chunk_init(size_t bytes) noexcept nogil                           # ERROR_*; idempotent
cdef void *chunk_metadata(size_t size, int *error) noexcept nogil          # zeroed, for thread caches; never given back
cdef frame_t *chunk_create(account_t *account, size_t piece, size_t count, size_t alignment, int *error) noexcept nogil
cdef int chunk_release(frame_t *first) noexcept nogil
cdef int chunk_seal() noexcept nogil                                       # what never changes; ERROR_*
cdef void chunk_lock(bint take) noexcept nogil                             # around a fork
cdef void chunk_close_all() noexcept nogil                                 # in a forked child
cdef frame_t *chunk_frame(uint32_t index) noexcept nogil
cdef frame_t *chunk_piece(const account_t *account, frame_t *since) noexcept nogil  # NULL: the first; then the next
