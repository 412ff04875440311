"""Layer 3: statistics and validity of a heap."""
from secalloc_ext.cache cimport heap_t

cdef struct audit_t:       # bytes, or counts
    # committed = slab_bytes + piece_bytes_free + large_committed_live + large_committed_free
    size_t committed, committed_peak, limit, chunks, caches
    size_t locked, protection_key   # key: 0 where mprotect(2) locks
    size_t slabs, slab_bytes, pieces_free, piece_bytes_free
    size_t slots_live, slots_free, slots_taken, slot_bytes_live   # slot_bytes_live: requested sizes
    size_t large_live, large_bytes_live, large_committed_live, large_free, large_committed_free

cdef void audit_heap(heap_t *heap, audit_t *stats) noexcept nogil
cdef bint audit_is_valid(heap_t *heap) noexcept nogil
