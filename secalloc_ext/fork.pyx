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
from secalloc_ext.cache cimport cache_flush, cache_t, heap_t
from secalloc_ext.chunk cimport (
    KIND_INHERITED, KIND_LARGE, KIND_LARGE_FREE, KIND_SLAB, KIND_UNUSED, account_t, chunk_frame, frame_t, reservation)
from secalloc_ext.mapping cimport (
    ACCESS_NONE, ACCESS_READ, mapping_create, mapping_move, mapping_protect, mapping_random, mapping_reserve,
    mapping_unreserve)
from secalloc_ext.prim cimport ERROR_NONE, FRAME_SHIFT, fatal_error, state_load
from secalloc_ext.rng cimport rng_fill
from secalloc_ext.slot cimport STATE_LIVE


cdef frame_t *next_piece(account_t *account, frame_t *frame) noexcept nogil:
    """The first frame from `frame` on that records a piece of the account; NULL behind the last."""
    cdef frame_t *end = reservation.frames + (reservation.used >> FRAME_SHIFT)
    while frame < end:
        if frame.account == account and frame.kind != KIND_UNUSED and frame.kind != KIND_INHERITED:
            return frame
        frame += 1
    return NULL


cdef size_t piece_offset(const frame_t *frame, const frame_t *first) noexcept nogil:
    """Where the piece lies in its chunk's shadow, in which pieces adjoin."""
    return 0 if first.chunk_pieces == 1 else <size_t>(frame - first) * frame.piece_bytes


cdef void copy_live(const frame_t *frame, uint8_t *shadow) noexcept nogil:
    cdef uint32_t i
    if frame.kind == KIND_LARGE:
        if frame.access == ACCESS_NONE and mapping_protect(frame.start, frame.piece_bytes, ACCESS_READ) != ERROR_NONE:
            fatal_error("protection cannot be changed")
        memcpy(shadow, frame.start, frame.piece_bytes)
        if frame.access == ACCESS_NONE and mapping_protect(frame.start, frame.piece_bytes, ACCESS_NONE) != ERROR_NONE:
            fatal_error("protection cannot be changed")
    elif frame.kind == KIND_SLAB:
        for i in range(frame.slots):
            if state_load(frame.states + i) & STATE_LIVE:
                memcpy(shadow + i * <size_t>frame.slot_bytes, frame.start + i * <size_t>frame.slot_bytes,
                       frame.slot_bytes)


cdef bint fork_shadow(heap_t *heap) noexcept nogil:
    """Make every chunk's shadow. On failure the shadows made so far remain for fork_discard."""
    cdef account_t *account = &heap.account
    cdef frame_t *frame = next_piece(account, reservation.frames)
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
        frame = next_piece(account, frame + 1)
    return True


cdef void fork_discard(heap_t *heap) noexcept nogil:
    cdef frame_t *frame = next_piece(&heap.account, reservation.frames)
    cdef frame_t *first
    while frame != NULL:
        first = chunk_frame(frame.chunk_first)
        if first.shadow != NULL:
            mapping_unreserve(first.shadow, first.chunk_pieces * frame.piece_bytes)
            first.shadow = NULL
        frame = next_piece(&heap.account, frame + 1)


cdef void reseed(heap_t *heap) noexcept nogil:
    """Parent and child must not place their objects alike."""
    cdef cache_t *cache = heap.caches
    while cache != NULL:
        if mapping_random(cache.rng.key, sizeof(cache.rng.key)) != ERROR_NONE:
            fatal_error("no random bytes")
        rng_fill(&cache.rng)
        cache = cache.next


cdef void fork_adopt(heap_t *heap, cache_t *own) noexcept nogil:
    """Move the shadows into place; the caches of threads that are not here become idle. `own` is the caller's."""
    cdef frame_t *frame = next_piece(&heap.account, reservation.frames)
    cdef frame_t *first
    cdef frame_t *following
    cdef cache_t *cache = heap.caches
    while frame != NULL:
        first = chunk_frame(frame.chunk_first)
        following = next_piece(&heap.account, frame + 1)
        if mapping_move(first.shadow + piece_offset(frame, first), frame.start, frame.piece_bytes,
                        heap.account.backend) != ERROR_NONE:
            fatal_error("copied pages cannot be moved")
        if frame.kind in (KIND_LARGE, KIND_LARGE_FREE) and mapping_protect(frame.start, frame.piece_bytes,
                                                                           frame.access) != ERROR_NONE:
            fatal_error("protection cannot be changed")
        if following == NULL or following.chunk_first != frame.chunk_first:
            first.shadow = NULL
        frame = following
    heap.idle = NULL
    while cache != NULL:
        if cache != own:
            cache_flush(cache)
            cache.next_idle = heap.idle
            heap.idle = cache
        cache = cache.next
    reseed(heap)


cdef void fork_isolate(heap_t *heap) noexcept nogil:
    cdef frame_t *frame = next_piece(&heap.account, reservation.frames)
    cdef cache_t *cache = heap.caches
    while frame != NULL:
        frame.kind = KIND_INHERITED
        frame = next_piece(&heap.account, frame + 1)
    heap.account.committed = heap.account.committed_peak = heap.account.chunks = 0
    memset(&heap.large, 0, sizeof(heap.large))
    heap.large.retain = heap.retain
    memset(heap.pieces.free, 0, sizeof(heap.pieces.free))
    heap.generation += 1
    heap.idle = NULL
    while cache != NULL:
        memset(cache.bins, 0, sizeof(cache.bins))
        cache.next_idle = heap.idle
        heap.idle = cache
        cache = cache.next
    reseed(heap)
