"""Layer 2: the records that say what lies where; types and their one-line rules. `chunk` keeps them."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from secalloc_ext.prim cimport (
    PAGE_BYTES, atomic_load_16_acquire, atomic_load_32_relaxed, atomic_load_pointer, atomic_load_relaxed,
    atomic_store_16_release, lock_t)

cdef enum kind_t:
    KIND_UNUSED = 0      # nothing mapped here, or the inside of a large object
    KIND_PIECE           # a mapped piece that is no slab at present: all zero
    KIND_SLAB
    KIND_SLAB_LOCKED     # a slab of a heap that is locked: its slots are reached by slow paths only
    KIND_LARGE           # a live large object begins here
    KIND_LARGE_FREE      # a wiped large object, kept for reuse
    KIND_INHERITED       # was the parent's before the fork: gone, its frees are ignored

cdef enum care_t:        # what a slab's free has to do beyond the common path
    CARE_FLUSH = 1       # write wiped cache lines back to memory
    CARE_QUARANTINE = 2  # the slot waits in the heap's quarantine

cdef enum shape_t:
    SHAPE_PLAIN          # of a large object
    SHAPE_GUARDED        # it ends at the trailing guard page
    SHAPE_ARRAY          # array data: freed and allocated in a row, of any size
    SHAPE_REVEALED       # the payload of revealed bytes: their header ends the ordinary page before it
    SHAPE_USED           # of a piece that is no slab: was one; these three in the order of preference
    SHAPE_READY          # touched by `prefault`, and never used
    SHAPE_UNTOUCHED      # just mapped
    SHAPE_HELD           # in no list: somebody touches its pages at the moment

cdef struct account_t:     # what a heap is charged: committed = sum of piece_bytes * chunk_pieces over its chunks
    lock_t lock            # held in every call that takes an account
    int backend
    unsigned flags         # for memfd_secret
    uint32_t care          # care_t, of its slabs
    uint32_t gap_frames    # at most so many unused frames before a new range, at random
    bint verify_whole      # look for writes after free in all of a slot, not in a sample
    size_t limit           # bytes; 0: none
    size_t committed       # bytes of secret pages mapped, touched or not; what RLIMIT_MEMLOCK is charged
    size_t committed_peak, chunks
    # These four are written under the lock, and read without it: atomic, relaxed.
    uint32_t locked        # by heaplock: nobody but the threads that are let in may touch the objects
    uint32_t pinned        # locked, and open all the same, until the last view is gone
    int key                # the protection key that locks it; KEY_NONE: mprotect(2) does; KEY_UNASKED: never locked
    uint32_t openings      # blocks that let a thread in, all threads

cdef struct frame_t:       # 128 bytes, two cache lines; all that a small free reads is in the first
    uint8_t *start         # first byte of the piece or the large object; with piece_bytes, see frame_holds
    uint64_t *bitmap       # slab: bit set = slot free and not in a thread cache; bits past the last slot always set
    uint16_t *states       # slab: 0 = free, STATE_LIVE | size
    uint64_t canary        # the slab's or the large object's secret; no byte of it is zero
    void *owner            # slab: the thread cache that may take slots from it; atomic, see word_came_free of `heap`
    uint32_t reciprocal    # slab: 2**31 / (slot_bytes / 16), rounded up
    uint32_t slot_bytes
    uint32_t slots
    uint16_t bin           # atomic, relaxed, as `owner`
    uint16_t kind          # kind_t; by frame_kind and frame_mark
    uint16_t care          # as the account's
    uint16_t shape         # large, or a piece: shape_t
    uint16_t access        # large: access_t, what its pages allow at present, but for the heap's lock; also when free
    uint16_t front_bytes   # large: of canary, from `start` to where the user's bytes begin; also when free
    size_t object_bytes    # large: the requested size
    account_t *account     # atomic: whoever walks all frames meets those of other heaps; frame_kind is read first
    frame_t *next          # in one list at a time: unused ranges, pieces, an owner's ring, large cache
    frame_t *previous
    size_t piece_bytes     # mapped bytes from start on, whole pages
    uint32_t chunk_first   # index of the chunk's first frame record; the fields below are kept there
    uint32_t chunk_frames
    uint32_t chunk_pieces, chunk_used  # pieces (0: an unused range); those that are slabs or large objects
    uint8_t *shadow        # during a fork: the chunk's copy for the child


cdef inline uint16_t frame_kind(const frame_t *frame) noexcept nogil:
    """What the frame is at present, and with that, all that was written to its record before it became so."""
    return atomic_load_16_acquire(&frame.kind)


cdef inline void frame_mark(frame_t *frame, uint16_t kind) noexcept nogil:
    atomic_store_16_release(&frame.kind, kind)


cdef inline bint frame_is_guarded(const frame_t *object) noexcept nogil:
    return object.shape == SHAPE_GUARDED


cdef inline size_t frame_lead(const frame_t *frame) noexcept nogil:
    """Bytes of ordinary memory that adjoin its piece in front, and go with it."""
    return PAGE_BYTES if frame.shape == SHAPE_REVEALED else 0


cdef inline bint frame_is_slab(const frame_t *frame) noexcept nogil:
    cdef uint16_t kind = frame_kind(frame)
    return kind == KIND_SLAB or kind == KIND_SLAB_LOCKED


cdef inline bint frame_holds(const frame_t *frame, const void *p) noexcept nogil:
    """Whether `p` lies in its piece, or did: another heap may be giving that back."""
    cdef const uint8_t *start = <const uint8_t *>atomic_load_pointer(<void **>&frame.start)
    return <size_t>(<const uint8_t *>p - start) < atomic_load_relaxed(<const uint64_t *>&frame.piece_bytes)


cdef inline bint account_is_locked(const account_t *account) noexcept nogil:
    return atomic_load_32_relaxed(&account.locked) != 0
