# cython: language_level=3
"""Layer 3: a heap as a whole. All but upkeep_wipe_at_once take the heap's lock."""
from libc.stdint cimport uint32_t
from secalloc_ext.cache cimport cache_flush, cache_t, caches_tidy, heap_t
from secalloc_ext.chunk cimport chunk_piece
from secalloc_ext.frame cimport KIND_LARGE, account_is_locked, frame_is_slab, frame_kind, frame_t
from secalloc_ext.heaplock cimport heaplock_force, heaplock_restore, heaplock_unforce
from secalloc_ext.large cimport large_drop, large_wipe
from secalloc_ext.prefault cimport prefault_settle
from secalloc_ext.prim cimport lock_drop, lock_take
from secalloc_ext.quarantine cimport quarantine_places, quarantine_pull
from secalloc_ext.revealpages cimport reveal_drop
from secalloc_ext.slot cimport slot_give, slot_zero


cdef void upkeep_wipe_at_once(heap_t *heap) noexcept nogil:
    """Zero the bytes of every live object, whatever its protection. The objects stay, and are freed as ever.

    Takes no lock, and calls nothing but mprotect(2): a signal handler may do it, at any instruction. What another
    thread allocates or frees in this moment may be missed; it must not be releasing pages. What mprotect(2) had closed
    is open after it, and zero, until its protection changes next.
    """
    cdef frame_t *frame = chunk_piece(&heap.account, NULL)
    cdef uint32_t i
    cdef bint was_open
    while frame != NULL:
        if frame_is_slab(frame) or frame_kind(frame) == KIND_LARGE:
            was_open = heaplock_force(frame)
            if frame_kind(frame) == KIND_LARGE:
                large_wipe(frame)
            else:
                for i in range(frame.slots):
                    slot_zero(frame, i)
            heaplock_unforce(frame, was_open)
        frame = chunk_piece(&heap.account, frame)


cdef void upkeep_wipe(heap_t *heap) noexcept nogil:
    """Zero what is live; what was closed is closed again."""
    lock_take(&heap.account.lock)
    upkeep_wipe_at_once(heap)
    heaplock_restore(&heap.account)
    lock_drop(&heap.account.lock)


cdef void quarantine_end(heap_t *heap) noexcept nogil:
    """Let go of all slots in quarantine. Those of a locked heap cannot be looked at: they stay. The lock is held, as
    any thread may come here for want of memory while another is locking the heap."""
    cdef size_t place
    cdef uint32_t index = 0
    cdef frame_t *slab
    if account_is_locked(&heap.account):
        return
    for place in range(quarantine_places(&heap.quarantine)):
        slab = quarantine_pull(&heap.quarantine, place, &index)
        if slab != NULL:
            slot_give(slab, index)


cdef void upkeep_reclaim(heap_t *heap, cache_t *own, size_t keep, bint large) noexcept nogil:
    """Give up what is kept for reuse: the quarantine, the stock of revealed bytes, the slots in the calling thread's
    cache (`own`, or NULL), empty slabs but for `keep` bytes of free pieces, and, if `large`, that of large objects."""
    prefault_settle(&heap.pieces)
    quarantine_end(heap)
    reveal_drop(&heap.revealed, &heap.large)
    if own != NULL:
        cache_flush(own)
    if large:
        large_drop(&heap.large, 0)
    caches_tidy(heap, keep)
    lock_drop(&heap.account.lock)


cdef void upkeep_keep(heap_t *heap, size_t bytes) noexcept nogil:
    """Have so many bytes of free pieces stay, at least, whatever is tidied."""
    lock_take(&heap.account.lock)
    if heap.retain < bytes:
        heap.retain = bytes
    lock_drop(&heap.account.lock)


cdef size_t look(heap_t *heap, const size_t *figure) noexcept nogil:
    cdef size_t seen
    lock_take(&heap.account.lock)
    seen = figure[0]
    lock_drop(&heap.account.lock)
    return seen


cdef size_t upkeep_ready(heap_t *heap) noexcept nogil:
    return look(heap, &heap.pieces.ready_bytes)


cdef void upkeep_abandon(heap_t *heap) noexcept nogil:
    """Unpin the slabs of all threads, of which none allocates in the heap any more. They may be freeing in it."""
    cdef cache_t *cache
    lock_take(&heap.account.lock)
    cache = heap.caches
    while cache != NULL:
        cache_flush(cache)
        cache = cache.next
    lock_drop(&heap.account.lock)


cdef bint upkeep_is_abandoned(heap_t *heap) noexcept nogil:
    cdef bint abandoned
    lock_take(&heap.account.lock)
    abandoned = heap.account.committed == 0 and heap.account.openings == 0
    lock_drop(&heap.account.lock)
    return abandoned


cdef size_t upkeep_committed(heap_t *heap) noexcept nogil:
    return look(heap, &heap.account.committed)
