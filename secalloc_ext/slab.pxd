"""Layer 2: a mapped piece as equal slots, its free bitmap and its states. A slab is a frame_t of kind KIND_SLAB."""
from libc.stdint cimport uint16_t, uint64_t
from secalloc_ext.frame cimport frame_t

cdef struct slab_count_t:   # slots = live + free + taken
    size_t live
    size_t free             # in the bitmap
    size_t taken            # in a thread cache, or in quarantine
    size_t live_bytes       # requested sizes of the live

cdef void slab_init(frame_t *slab, unsigned bin, void *owner, uint64_t secret) noexcept nogil
cdef uint64_t slab_peek(const frame_t *slab, size_t word) noexcept nogil            # free slots of one word, by bit
cdef uint64_t slab_take(frame_t *slab, size_t word) noexcept nogil                  # the same, and they are ours
cdef void slab_give(frame_t *slab, size_t word, uint64_t bits) noexcept nogil       # slots taken and not used
cdef void slab_free_all(frame_t *slab) noexcept nogil                               # all slots that do not live
cdef bint slab_is_empty(const frame_t *slab) noexcept nogil                         # no slot live, none taken
cdef bint slab_retire(frame_t *slab) noexcept nogil                                 # empty -> KIND_PIECE; or False
cdef slab_count_t slab_count(const frame_t *slab) noexcept nogil
cdef bint slab_is_valid(const frame_t *slab) noexcept nogil
