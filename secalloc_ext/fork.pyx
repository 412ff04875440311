# cython: language_level=3
"""Layer 3: fork.

Secret pages are shared memory to the kernel, which never copies them on write: a child that had them would write into
its parent. So no piece is inherited (MADV_DONTFORK), and a heap has one of two policies.

ISOLATE: the heap is empty in the child. The frames of what the parent had are KIND_INHERITED for ever, so that nothing
else lands at those addresses and frees of inherited objects are ignored.

COPY: before the fork, the parent maps a *shadow* of each chunk elsewhere, which the child does inherit, and copies the
live objects into it; the child moves it to the original's address, the parent unmaps it::

    parent   chunk (not inherited)  --live slots-->  shadow (inherited)
    child    hole                   <----mremap----  shadow

Only live slots are copied, as the first touch of a page is what costs. What another thread writes at the moment of the
fork may be half copied, as with any fork; that thread is not there in the child.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset
from secalloc_ext.cache cimport cache_flush, cache_leave, cache_t, heap_t
from secalloc_ext.chunk cimport chunk_frame, chunk_piece
from secalloc_ext.frame cimport KIND_INHERITED, KIND_LARGE, KIND_LARGE_FREE, account_t, frame_is_slab, frame_t
from secalloc_ext.heaplock cimport heaplock_expose, heaplock_peek, heaplock_settle, heaplock_unpeek
from secalloc_ext.large cimport large_init, large_retire
from secalloc_ext.mapping cimport (
    ACCESS_NONE, mapping_create, mapping_move, mapping_random, mapping_reserve, mapping_unreserve)
from secalloc_ext.prim cimport ERROR_NONE, fatal_error, state_load
from secalloc_ext.quarantine cimport quarantine_clear
from secalloc_ext.rng cimport rng_fill, rng_t
from secalloc_ext.slot cimport STATE_LIVE


cdef size_t piece_offset(const frame_t *frame, const frame_t *first) noexcept nogil:
    """Where the piece lies in its chunk's shadow, in which pieces adjoin."""
    return 0 if first.chunk_pieces == 1 else <size_t>(frame - first) * frame.piece_bytes


cdef void copy_live(frame_t *frame, uint8_t *shadow) noexcept nogil:
    cdef uint32_t i
    cdef bint closed, was_open
    if frame.kind == KIND_LARGE:
        closed = frame.access == ACCESS_NONE or frame.account.locked
        if closed and heaplock_expose(frame) != ERROR_NONE:
            fatal_error("protection cannot be changed")
        memcpy(shadow, frame.start, frame.piece_bytes)
        if closed and heaplock_settle(frame) != ERROR_NONE:
            fatal_error("protection cannot be changed")
    elif frame_is_slab(frame):
        was_open = heaplock_peek(frame)
        for i in range(frame.slots):
            if state_load(frame.states + i) & STATE_LIVE:
                memcpy(shadow + i * <size_t>frame.slot_bytes, frame.start + i * <size_t>frame.slot_bytes,
                       frame.slot_bytes)
        heaplock_unpeek(frame, was_open)


cdef bint fork_shadow(heap_t *heap) noexcept nogil:
    """Make every chunk's shadow. On failure the shadows made so far remain for fork_discard."""
    cdef account_t *account = &heap.account
    cdef frame_t *frame = chunk_piece(account, NULL)
    cdef frame_t *first
    cdef size_t size
    while frame != NULL:
        first = chunk_frame(frame.chunk_first)
        if piece_offset(frame, first) == 0:
            size = first.chunk_pieces * frame.piece_bytes
            first.shadow = mapping_reserve(size)
            if first.shadow == NULL:
                return False
            if mapping_create(first.shadow, frame.piece_bytes, frame.piece_bytes, first.chunk_pieces,
                              account.backend, account.flags, True) != ERROR_NONE:
                return False
        copy_live(frame, first.shadow + piece_offset(frame, first))
        frame = chunk_piece(account, frame)
    return True


cdef void fork_discard(heap_t *heap) noexcept nogil:
    cdef frame_t *frame = chunk_piece(&heap.account, NULL)
    cdef frame_t *first
    while frame != NULL:
        first = chunk_frame(frame.chunk_first)
        if first.shadow != NULL:
            mapping_unreserve(first.shadow, first.chunk_pieces * frame.piece_bytes)
            first.shadow = NULL
        frame = chunk_piece(&heap.account, frame)


cdef void reseed_one(rng_t *rng) noexcept nogil:
    if mapping_random(rng.key, sizeof(rng.key)) != ERROR_NONE:
        fatal_error("no random bytes")
    rng_fill(rng)


cdef void reseed(heap_t *heap) noexcept nogil:
    """Parent and child must not place their objects alike."""
    cdef cache_t *cache = heap.caches
    reseed_one(&heap.large.rng)
    while cache != NULL:
        reseed_one(&cache.rng)
        cache = cache.next


cdef void make_idle(heap_t *heap, cache_t *own) noexcept nogil:
    """The caches of the threads that are not here are for those to come."""
    cdef cache_t *cache = heap.caches
    heap.idle = NULL
    while cache != NULL:
        if cache != own:
            cache_leave(cache)
        cache = cache.next


cdef void fork_adopt(heap_t *heap, cache_t *own) noexcept nogil:
    """Move the shadows into place. `own` is the cache of the thread that is here."""
    cdef frame_t *frame = chunk_piece(&heap.account, NULL)
    cdef frame_t *first
    cdef frame_t *following
    cdef cache_t *cache = heap.caches
    while frame != NULL:
        first = chunk_frame(frame.chunk_first)
        following = chunk_piece(&heap.account, frame)
        if mapping_move(first.shadow + piece_offset(frame, first), frame.start, frame.piece_bytes,
                        heap.account.backend) != ERROR_NONE:
            fatal_error("copied pages cannot be moved")
        if (heap.account.locked or frame.kind in (KIND_LARGE, KIND_LARGE_FREE)) and heaplock_settle(
                frame) != ERROR_NONE:
            fatal_error("protection cannot be changed")
        # Another thread was about to free it, and is not here to end that; the copy is zero.
        if frame.kind == KIND_LARGE_FREE and first.chunk_used != 0:
            large_retire(&heap.large, frame)
        if following == NULL or following.chunk_first != frame.chunk_first:
            first.shadow = NULL
        frame = following
    while cache != NULL:
        if cache != own:
            cache_flush(cache)
        cache = cache.next
    make_idle(heap, own)
    reseed(heap)


cdef void fork_isolate(heap_t *heap, cache_t *own) noexcept nogil:
    """Begin with nothing; what was there is inherited for ever."""
    cdef frame_t *frame = chunk_piece(&heap.account, NULL)
    cdef cache_t *cache = heap.caches
    while frame != NULL:
        frame.kind = KIND_INHERITED
        frame = chunk_piece(&heap.account, frame)
    heap.account.committed = heap.account.committed_peak = heap.account.chunks = 0
    if large_init(&heap.large, heap.retain, heap.large.quarantine_places) != ERROR_NONE:
        fatal_error("no random bytes")
    quarantine_clear(&heap.quarantine)
    memset(heap.pieces.free, 0, sizeof(heap.pieces.free))
    heap.generation += 1
    while cache != NULL:
        memset(cache.bins, 0, sizeof(cache.bins))
        cache = cache.next
    make_idle(heap, own)
    reseed(heap)
