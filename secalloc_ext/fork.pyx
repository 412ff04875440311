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

Only live slots are copied, as the first touch of a page is what costs.

The locks that are held stop neither an alloc from a thread cache nor a free, and the kernel copies a running process
page by page. So in the child the states of the slots are the truth, from which the bitmaps are made anew; `copied`
tells it which states the copies were made of. What another thread writes, allocates or frees at the moment of the fork
may be half copied, as with any fork, or lost: that thread is not there in the child.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from secalloc_ext.cache cimport bin_t, cache_t, heap_t
from secalloc_ext.chunk cimport chunk_frame, chunk_piece
from secalloc_ext.frame cimport (
    KIND_INHERITED, KIND_LARGE, KIND_LARGE_FREE, account_is_locked, account_t, frame_is_slab, frame_kind, frame_mark,
    frame_t)
from secalloc_ext.heaplock cimport heaplock_expose, heaplock_peek, heaplock_settle, heaplock_unpeek
from secalloc_ext.large cimport large_init, large_retire
from secalloc_ext.mapping cimport (
    ACCESS_NONE, mapping_commit, mapping_create, mapping_move, mapping_random, mapping_reserve, mapping_unreserve)
from secalloc_ext.prim cimport ERROR_NONE, atomic_load_16_acquire, fatal_error, wipe_slot
from secalloc_ext.quarantine cimport quarantine_clear
from secalloc_ext.rng cimport rng_fill, rng_t
from secalloc_ext.sizeclass cimport BIN_COUNT
from secalloc_ext.slab cimport slab_restore
from secalloc_ext.slot cimport STATE_LIVE, STATE_SIZE, canary_fill


cdef enum:
    STATE_TORN = 0xffff  # in `copied` only: the slot was freed while it was copied


cdef size_t piece_offset(const frame_t *frame, const frame_t *first) noexcept nogil:
    """Where the piece lies in its chunk's shadow, in which pieces adjoin."""
    return 0 if first.chunk_pieces == 1 else <size_t>(frame - first) * frame.piece_bytes


cdef void copy_while_in_use(uint8_t *shadow, const uint8_t *object, size_t size) noexcept nogil:
    """The one place that reads what another thread may be writing: a data race by intent."""
    memcpy(shadow, object, size)


cdef void copy_large(frame_t *frame, uint8_t *shadow) noexcept nogil:
    cdef bint closed = frame.access == ACCESS_NONE or account_is_locked(frame.account)
    if closed and heaplock_expose(frame) != ERROR_NONE:
        fatal_error("protection cannot be changed")
    copy_while_in_use(shadow, frame.start, frame.piece_bytes)
    if closed and heaplock_settle(frame) != ERROR_NONE:
        fatal_error("protection cannot be changed")


cdef void copy_slab(frame_t *slab, uint8_t *shadow, uint16_t *copied) noexcept nogil:
    cdef bint was_open = heaplock_peek(slab)
    cdef uint16_t state
    cdef size_t at
    cdef uint32_t i
    for i in range(slab.slots):
        state = atomic_load_16_acquire(slab.states + i)
        if state & STATE_LIVE:
            at = i * <size_t>slab.slot_bytes
            copy_while_in_use(shadow + at, slab.start + at, slab.slot_bytes)
            if atomic_load_16_acquire(slab.states + i) != state:
                state = STATE_TORN
        copied[i] = state
    heaplock_unpeek(slab, was_open)


cdef bint copied_init(heap_t *heap) noexcept nogil:
    """Room for the states of all slots, in the order of `chunk_piece`: ordinary memory, which a child inherits."""
    cdef frame_t *frame = chunk_piece(&heap.account, NULL)
    cdef size_t slots = 1
    while frame != NULL:
        if frame_is_slab(frame):
            slots += frame.slots
        frame = chunk_piece(&heap.account, frame)
    heap.copied_bytes = slots * sizeof(uint16_t)
    heap.copied = <uint16_t *>mapping_reserve(heap.copied_bytes)
    return heap.copied != NULL and mapping_commit(<uint8_t *>heap.copied, heap.copied_bytes) == ERROR_NONE


cdef void copied_drop(heap_t *heap) noexcept nogil:
    if heap.copied != NULL:
        mapping_unreserve(<uint8_t *>heap.copied, heap.copied_bytes)
        heap.copied = NULL


cdef bint fork_shadow(heap_t *heap) noexcept nogil:
    """Make every chunk's shadow. On failure the shadows made so far remain for fork_discard."""
    cdef account_t *account = &heap.account
    cdef frame_t *frame = chunk_piece(account, NULL)
    cdef frame_t *first
    cdef uint8_t *shadow
    cdef uint16_t *copied
    cdef size_t size
    if not copied_init(heap):
        return False
    copied = heap.copied
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
        shadow = first.shadow + piece_offset(frame, first)
        if frame_is_slab(frame):
            copy_slab(frame, shadow, copied)
            copied += frame.slots
        elif frame_kind(frame) == KIND_LARGE:
            copy_large(frame, shadow)
        frame = chunk_piece(account, frame)
    return True


cdef void fork_discard(heap_t *heap) noexcept nogil:
    cdef frame_t *frame = chunk_piece(&heap.account, NULL)
    cdef frame_t *first
    copied_drop(heap)
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
            cache.next_idle = heap.idle
            heap.idle = cache
        cache = cache.next


cdef void adopt_slab(frame_t *slab, const uint16_t *copied, cache_t *own) noexcept nogil:
    """Make a slab whole by the states of its slots: what they say now may not be what was `copied`."""
    cdef bin_t *bin = &own.bins[slab.bin] if own != NULL else NULL
    cdef uint8_t *slot
    cdef uint16_t state
    cdef uint32_t i
    for i in range(slab.slots):
        state = atomic_load_16_acquire(slab.states + i)
        if state != copied[i]:  # another thread's doing, of which nothing else is left
            slot = slab.start + i * <size_t>slab.slot_bytes
            wipe_slot(slot, slab.slot_bytes)
            if state & STATE_LIVE:
                canary_fill(slab.canary, slot + (state & STATE_SIZE), slot + slab.slot_bytes, state & STATE_SIZE)
    if bin != NULL and bin.slab == slab:
        slab_restore(slab, bin.word_index, bin.word)
    else:
        slab_restore(slab, 0, 0)


cdef void forget_stock(cache_t *cache) noexcept nogil:
    """Of a thread that is not here: its slots are in their bitmaps again."""
    cdef size_t i
    for i in range(BIN_COUNT):
        cache.bins[i].word = 0
        cache.bins[i].slab = NULL


cdef void fork_adopt(heap_t *heap, cache_t *own) noexcept nogil:
    """Move the shadows into place. `own` is the cache of the thread that is here."""
    cdef frame_t *frame = chunk_piece(&heap.account, NULL)
    cdef frame_t *first
    cdef frame_t *following
    cdef cache_t *cache = heap.caches
    cdef uint16_t *copied = heap.copied
    cdef uint16_t kind
    quarantine_clear(&heap.quarantine)
    while frame != NULL:
        kind = frame_kind(frame)
        first = chunk_frame(frame.chunk_first)
        following = chunk_piece(&heap.account, frame)
        if mapping_move(first.shadow + piece_offset(frame, first), frame.start, frame.piece_bytes,
                        heap.account.backend) != ERROR_NONE:
            fatal_error("copied pages cannot be moved")
        if frame_is_slab(frame):
            adopt_slab(frame, copied, own)
            copied += frame.slots
        if (account_is_locked(&heap.account) or kind == KIND_LARGE or kind == KIND_LARGE_FREE) and heaplock_settle(
                frame) != ERROR_NONE:
            fatal_error("protection cannot be changed")
        # Another thread was about to free it, and is not here to end that; the copy is zero.
        if kind == KIND_LARGE_FREE and first.chunk_used != 0:
            large_retire(&heap.large, frame)
        if following == NULL or following.chunk_first != frame.chunk_first:
            first.shadow = NULL
        frame = following
    while cache != NULL:
        if cache != own:
            forget_stock(cache)
        cache = cache.next
    copied_drop(heap)
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
