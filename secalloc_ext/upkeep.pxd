"""Layer 3: a heap as a whole: wiping what lives in it, getting back what does not."""
from secalloc_ext.cache cimport cache_t, heap_t

cdef enum:
    TIDY_WORDS = 4096   # bitmap words that come wholly free between two tidyings

cdef void upkeep_wipe_at_once(heap_t *heap) noexcept nogil         # zero what is live; in a signal handler, too
cdef void upkeep_wipe(heap_t *heap) noexcept nogil                 # the same, whatever other threads do
cdef void upkeep_reclaim(heap_t *heap, cache_t *own, size_t keep, bint large) noexcept nogil
cdef void upkeep_keep(heap_t *heap, size_t bytes) noexcept nogil   # free pieces, whatever is tidied
cdef size_t upkeep_ready(heap_t *heap) noexcept nogil              # bytes of free pieces that are touched
cdef void upkeep_abandon(heap_t *heap) noexcept nogil              # when it is closed
cdef bint upkeep_is_abandoned(heap_t *heap) noexcept nogil         # nothing and nobody in it
cdef size_t upkeep_committed(heap_t *heap) noexcept nogil          # bytes
