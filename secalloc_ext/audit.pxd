"""Layer 3: statistics, layout and validity of a heap."""
from libc.stdint cimport uint32_t, uint64_t
from secalloc_ext.cache cimport heap_t

cdef struct audit_t:       # bytes, or counts
    # committed = slab_bytes + piece_bytes_free + large_committed_live + large_committed_free
    size_t committed, committed_peak, limit, chunks, caches
    size_t locked, protection_key   # key: 0 where mprotect(2) locks
    size_t slabs, slab_bytes, pieces_free, piece_bytes_free
    size_t slots_live, slots_free, slots_taken, slot_bytes_live   # slot_bytes_live: requested sizes
    size_t large_live, large_bytes_live, large_committed_live, large_free, large_committed_free
    size_t header_bytes    # ordinary memory, none of committed: pages that end with the header of revealed bytes

cdef enum part_kind_t:
    PART_SLAB
    PART_PIECE    # no slab at present
    PART_LARGE
    PART_KEPT     # a freed large object, kept for reuse

cdef struct part_t:             # one mapped piece
    uint32_t frame, chunk       # index of its frame, and of its chunk's first
    uint64_t start, bytes       # where in the reservation; whole pages
    int kind                    # part_kind_t
    size_t slot_bytes, slots    # slab; of a live large object: the requested size, 1
    size_t live, taken          # slots, see slab_count_t

cdef size_t audit_layout(heap_t *heap, part_t *parts, size_t room) noexcept nogil   # how many there are; filled: room
cdef void audit_holders(heap_t **holders) noexcept nogil   # by index, HEAPS_MAX: the heaps that have pages; else NULL
cdef void audit_heap(heap_t *heap, audit_t *stats) noexcept nogil
cdef bint audit_is_valid(heap_t *heap) noexcept nogil
