"""Layer 3: freed slots on their way back, delayed by chance."""
from libc.stdint cimport uint32_t, uint64_t
from secalloc_ext.frame cimport frame_t

cdef enum:
    QUARANTINE_SLOTS_MAX = 256           # places for each bin
    QUARANTINE_BYTES_MAX = 64 * 1024     # of the slots in one bin's places, but for one slot at least

cdef struct quarantine_t:
    uint64_t *places       # [BIN_COUNT][slots]: the name of a slot; 0: empty. NULL: there is no quarantine
    uint32_t slots

cdef int quarantine_init(quarantine_t *quarantine, uint32_t slots) noexcept nogil         # ERROR_*
cdef frame_t *quarantine_pass(quarantine_t *quarantine, frame_t *slab, uint32_t *index,
                              unsigned random) noexcept nogil                             # what comes out, or NULL
cdef frame_t *quarantine_pull(quarantine_t *quarantine, size_t place, uint32_t *index) noexcept nogil
cdef size_t quarantine_places(const quarantine_t *quarantine) noexcept nogil
cdef void quarantine_clear(quarantine_t *quarantine) noexcept nogil                       # forget all
