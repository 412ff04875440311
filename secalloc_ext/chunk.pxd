"""Layer 2: the reservation, its frame records, and chunks mapped into it."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from secalloc_ext.prim cimport lock_t

cdef enum kind_t:
    KIND_UNUSED = 0    # nothing mapped here, or the inside of a large object
    KIND_PIECE         # a mapped piece that is no slab at present: all zero
    KIND_SLAB
    KIND_LARGE         # a live large object begins here
    KIND_LARGE_FREE    # a wiped large object, kept for reuse
    KIND_INHERITED     # was the parent's before the fork: gone, its frees are ignored

cdef struct account_t:     # what a heap is charged: committed = sum of piece_bytes * chunk_pieces over its chunks
    lock_t lock            # held in every call that takes an account
    int backend
    unsigned flags         # for memfd_secret
    bint flush             # write wiped cache lines back to memory
    size_t limit           # bytes; 0: none
    size_t committed       # bytes of secret pages mapped, touched or not; what RLIMIT_MEMLOCK is charged
    size_t committed_peak, chunks

cdef struct frame_t:       # 128 bytes, two cache lines; all that a small free reads is in the first
    uint8_t *start         # first byte of the piece or the large object
    uint64_t *bitmap       # slab: bit set = slot free and not in a thread cache; bits past the last slot always set
    uint16_t *states       # slab: 0 = free, STATE_LIVE | size
    uint64_t canary        # the slab's or the large object's secret; no byte of it is zero
    void *owner            # slab: the thread cache that may take slots from it
    uint32_t reciprocal    # slab: 2**31 / (slot_bytes / 16), rounded up
    uint32_t slot_bytes
    uint32_t slots
    uint16_t bin
    uint16_t kind          # kind_t; written last, with release
    uint16_t flush         # as the account's
    uint16_t guarded       # large: the object ends at the trailing guard page
    uint32_t access        # large: access_t, what its pages allow at present
    size_t object_bytes    # large: the requested size
    account_t *account
    frame_t *next          # in one list at a time: unused ranges, pieces, an owner's ring, large cache
    frame_t *previous
    size_t piece_bytes     # mapped bytes from start on, whole pages
    uint32_t chunk_first   # index of the chunk's first frame record; the fields below are kept there
    uint32_t chunk_frames
    uint32_t chunk_pieces, chunk_used  # pieces; those that are slabs or large objects
    uint8_t *shadow        # during a fork: the chunk's copy for the child

cdef struct reservation_t:
    uint8_t *base
    size_t bytes
    frame_t *frames        # one record a frame
    size_t used            # bytes from base to the end of the last frame ever used: where records can be read

cdef reservation_t reservation                                             # set once by chunk_init, then constant

cdef int chunk_init(size_t bytes) noexcept nogil                           # ERROR_*; idempotent
cdef void *chunk_metadata(size_t size) noexcept nogil                      # zeroed, for thread caches; never given back
cdef frame_t *chunk_create(account_t *account, size_t piece, size_t count, size_t alignment, int *error) noexcept nogil
cdef int chunk_release(frame_t *first) noexcept nogil
cdef void chunk_lock(bint take) noexcept nogil                             # around a fork
cdef void chunk_close_all() noexcept nogil                                 # in a forked child
cdef frame_t *chunk_frame(uint32_t index) noexcept nogil
