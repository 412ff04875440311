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

Only live slots are copied, as the first touch of a page is what costs. Other threads, whose common path takes no lock,
go on allocating and freeing between the copying and the fork. The child, in which they are not, makes it good: what
was freed since is wiped, what was made since is zero, with a canary, and every slot that does not live is free again,
in whichever cache or quarantine it was. What another thread writes into its objects meanwhile may be half copied.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from secalloc_ext.cache cimport cache_leave, cache_t, heap_t
from secalloc_ext.chunk cimport chunk_frame, chunk_piece
from secalloc_ext.frame cimport (
    KIND_INHERITED, KIND_LARGE, KIND_LARGE_FREE, KIND_PIECE, SHAPE_HELD, account_is_locked, account_t, frame_is_slab,
    frame_kind, frame_mark, frame_t)
from secalloc_ext.heaplock cimport heaplock_expose, heaplock_peek, heaplock_settle, heaplock_unpeek
from secalloc_ext.large cimport large_init, large_retire
from secalloc_ext.mapping cimport (
    ACCESS_NONE, mapping_create, mapping_move, mapping_pause, mapping_random, mapping_reserve, mapping_unreserve)
from secalloc_ext.pieces cimport pieces_give_held
from secalloc_ext.prim cimport (
    ERROR_NONE, SLAB_SLOTS_MAX, SLAB_WORDS_MAX, atomic_load_16_relaxed, copy_while_in_use, fatal_error, wipe)
from secalloc_ext.quarantine cimport quarantine_clear
from secalloc_ext.revealpages cimport reveal_drop, reveal_forget
from secalloc_ext.rng cimport rng_fill, rng_t
from secalloc_ext.sizeclass cimport BIN_COUNT
from secalloc_ext.slab cimport slab_free_all
from secalloc_ext.slot cimport STATE_LIVE, STATE_SIZE, canary_fill, canary_is_intact

cdef enum:
    TRIES = 64                       # to copy a slot that another thread is just opening or resizing,
    TRIES_AT_ONCE = 8                # and may have been stopped in


cdef size_t piece_offset(const frame_t *frame, const frame_t *first) noexcept nogil:
    """Where the piece lies in its chunk's shadow, in which pieces adjoin."""
    return 0 if first.chunk_pieces == 1 else <size_t>(frame - first) * frame.piece_bytes


# Two bitmaps behind a slab's states: slots that were copied, and those of them whose canary was whole at that time.

cdef inline uint64_t *copied_bits(const frame_t *slab) noexcept nogil:
    return <uint64_t *>(slab.states + SLAB_SLOTS_MAX)


cdef inline uint64_t *whole_bits(const frame_t *slab) noexcept nogil:
    return copied_bits(slab) + SLAB_WORDS_MAX


cdef void copy_slot(frame_t *slab, uint32_t i, uint8_t *copy) noexcept nogil:
    cdef size_t slot_bytes = slab.slot_bytes
    cdef uint64_t bit = <uint64_t>1 << (i & 63)
    cdef uint16_t state
    cdef size_t size, attempt
    for attempt in range(TRIES):
        state = atomic_load_16_relaxed(slab.states + i)
        if not state & STATE_LIVE:
            if attempt > 0:  # freed while it was copied: its canary was not damaged
                whole_bits(slab)[i >> 6] |= bit
            break
        size = state & STATE_SIZE
        copy_while_in_use(copy, slab.start + i * slot_bytes, slot_bytes)
        copied_bits(slab)[i >> 6] |= bit
        if canary_is_intact(slab.canary, copy + size, slot_bytes - size, size):
            whole_bits(slab)[i >> 6] |= bit
            break
        if attempt >= TRIES_AT_ONCE:
            mapping_pause()


cdef bint copy_live(frame_t *frame, uint8_t *shadow) noexcept nogil:
    """False where what is closed cannot be opened for it."""
    cdef uint32_t i
    cdef bint closed, was_open
    if frame_kind(frame) == KIND_LARGE:
        closed = frame.access == ACCESS_NONE or account_is_locked(frame.account)
        if closed and heaplock_expose(frame) != ERROR_NONE:
            return False
        copy_while_in_use(shadow, frame.start, frame.piece_bytes)
        if closed and heaplock_settle(frame) != ERROR_NONE:
            fatal_error("protection cannot be changed")
    elif frame_is_slab(frame):
        memset(copied_bits(frame), 0, 2 * SLAB_WORDS_MAX * sizeof(uint64_t))
        was_open = heaplock_peek(frame)
        for i in range(frame.slots):
            copy_slot(frame, i, shadow + i * <size_t>frame.slot_bytes)
        heaplock_unpeek(frame, was_open)
    return True


cdef void adopt_slots(frame_t *slab) noexcept nogil:
    """In the child: make the copies agree with the states, which may have changed after the copying."""
    cdef size_t slot_bytes = slab.slot_bytes
    cdef uint32_t i
    cdef uint16_t state
    cdef bint copied, whole
    cdef uint8_t *slot
    cdef uint8_t *slack
    cdef size_t size
    for i in range(slab.slots):
        state = atomic_load_16_relaxed(slab.states + i)
        slot = slab.start + i * slot_bytes
        copied = copied_bits(slab)[i >> 6] >> (i & 63) & 1
        whole = whole_bits(slab)[i >> 6] >> (i & 63) & 1
        if state & STATE_LIVE:
            size = state & STATE_SIZE
            slack = slot + size
            # A canary that was damaged before is damaged in the child.
            if copied == whole and not canary_is_intact(slab.canary, slack, slot_bytes - size, size):
                canary_fill(slab.canary, slack, slot_bytes - size, size)
        elif copied:
            wipe(slot, slot_bytes)
    slab_free_all(slab)


cdef bint fork_shadow(heap_t *heap) noexcept nogil:
    """Make every chunk's shadow. On failure the shadows made so far remain for fork_discard."""
    cdef account_t *account = &heap.account
    cdef frame_t *frame = chunk_piece(account, NULL)
    cdef frame_t *first
    cdef size_t size, _left
    while frame != NULL:
        first = chunk_frame(frame.chunk_first)
        if piece_offset(frame, first) == 0:
            size = first.chunk_pieces * frame.piece_bytes
            first.shadow = mapping_reserve(size)
            if first.shadow == NULL:
                return False
            if mapping_create(first.shadow, frame.piece_bytes, frame.piece_bytes, first.chunk_pieces,
                              account.backend, account.flags, True, &_left) != ERROR_NONE:
                return False
        if not copy_live(frame, first.shadow + piece_offset(frame, first)):
            return False
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
    cdef size_t i
    while frame != NULL:
        first = chunk_frame(frame.chunk_first)
        following = chunk_piece(&heap.account, frame)
        if mapping_move(first.shadow + piece_offset(frame, first), frame.start, frame.piece_bytes,
                        heap.account.backend) != ERROR_NONE:
            fatal_error("copied pages cannot be moved")
        if frame_is_slab(frame):
            adopt_slots(frame)
        if (account_is_locked(&heap.account) or frame_kind(frame) in (KIND_LARGE, KIND_LARGE_FREE)) and heaplock_settle(
                frame) != ERROR_NONE:
            fatal_error("protection cannot be changed")
        # Another thread was about to free it, and is not here to end that; the copy is zero.
        if frame_kind(frame) == KIND_LARGE_FREE and first.chunk_used != 0:
            large_retire(&heap.large, frame)
        if frame_kind(frame) == KIND_PIECE and frame.shape == SHAPE_HELD:
            pieces_give_held(&heap.pieces, frame)
        if following == NULL or following.chunk_first != frame.chunk_first:
            first.shadow = NULL
        frame = following
    reveal_drop(&heap.revealed, &heap.large)
    reveal_forget(&heap.revealed)  # what cannot be released is closed, and zero instead of canary: no stock
    quarantine_clear(&heap.quarantine)
    while cache != NULL:
        for i in range(BIN_COUNT):
            cache.bins[i].word = cache.bins[i].freed = 0
            cache.bins[i].slab = NULL
        cache = cache.next
    make_idle(heap, own)
    reseed(heap)


cdef void fork_isolate(heap_t *heap, cache_t *own) noexcept nogil:
    """Begin with nothing; what was there is inherited for ever."""
    cdef frame_t *frame = chunk_piece(&heap.account, NULL)
    cdef cache_t *cache = heap.caches
    while frame != NULL:
        frame_mark(frame, KIND_INHERITED)
        frame = chunk_piece(&heap.account, frame)
    heap.account.committed = heap.account.committed_peak = heap.account.chunks = 0
    if large_init(&heap.large, heap.retain, heap.large.quarantine_places, heap.large.warm_places) != ERROR_NONE:
        fatal_error("no random bytes")
    quarantine_clear(&heap.quarantine)
    reveal_forget(&heap.revealed)
    memset(heap.pieces.free, 0, sizeof(heap.pieces.free))
    heap.pieces.ready_bytes = heap.pieces.held = 0
    heap.generation += 1
    while cache != NULL:
        memset(cache.bins, 0, sizeof(cache.bins))
        cache = cache.next
    make_idle(heap, own)
    reseed(heap)
