# cython: language_level=3
"""Layer 3: what a heap holds, counted by walking it, and whether it is as it should be. Never on a common path."""
from libc.stdint cimport uint16_t
from libc.string cimport memset
from secalloc_ext.cache cimport HEAPS_MAX, cache_t, heap_t
from secalloc_ext.chunk cimport chunk_piece, reservation
from secalloc_ext.frame cimport (
    KIND_INHERITED, KIND_LARGE, KIND_LARGE_FREE, KIND_PIECE, KIND_UNUSED, SHAPE_READY, account_is_locked, frame_is_slab,
    frame_kind, frame_lead, frame_t)
from secalloc_ext.heaplock cimport heaplock_peek, heaplock_unpeek
from secalloc_ext.large cimport large_is_valid
from secalloc_ext.pieces cimport PIECE_LISTS
from secalloc_ext.prim cimport (
    FRAME_SHIFT, PIECE_BYTES_MAX, atomic_load_acquire, atomic_load_pointer, lock_drop, lock_take)
from secalloc_ext.sizeclass cimport BIN_COUNT
from secalloc_ext.slab cimport slab_count, slab_count_t, slab_is_valid


cdef void count_all(heap_t *heap, audit_t *stats) noexcept nogil:
    """The heap's lock is held."""
    cdef cache_t *cache
    cdef frame_t *frame
    cdef slab_count_t count
    cdef size_t i, _left
    memset(stats, 0, sizeof(stats[0]))
    stats.committed = heap.account.committed
    stats.committed_peak = heap.account.committed_peak
    stats.limit = heap.account.limit
    stats.locked = account_is_locked(&heap.account)
    stats.protection_key = heap.account.key if heap.account.key > 0 else 0
    stats.chunks = heap.account.chunks
    stats.large_live = heap.large.live
    stats.large_bytes_live = heap.large.live_bytes
    stats.large_committed_live = heap.large.live_committed
    stats.large_free = heap.large.free_count
    stats.large_committed_free = heap.large.free_committed
    stats.pieces_free = heap.pieces.held
    stats.piece_bytes_free = heap.pieces.held * PIECE_BYTES_MAX
    frame = chunk_piece(&heap.account, NULL)
    while frame != NULL:
        stats.header_bytes += frame_lead(frame)
        frame = chunk_piece(&heap.account, frame)
    for i in range(PIECE_LISTS):
        frame = heap.pieces.free[i]
        while frame != NULL:
            stats.pieces_free += 1
            stats.piece_bytes_free += frame.piece_bytes
            frame = frame.next
    cache = heap.caches
    while cache != NULL:
        stats.caches += 1
        for i in range(BIN_COUNT):
            frame = cache.bins[i].ring
            for _left in range(cache.bins[i].ring_length):
                count = slab_count(frame)
                stats.slabs += 1
                stats.slab_bytes += frame.piece_bytes
                stats.slots_live += count.live
                stats.slots_free += count.free
                stats.slots_taken += count.taken
                stats.slot_bytes_live += count.live_bytes
                frame = frame.next
        cache = cache.next


cdef void audit_heap(heap_t *heap, audit_t *stats) noexcept nogil:
    """Walk the heap. Slot counts are exact while no other thread allocates or frees in it."""
    lock_take(&heap.account.lock)
    count_all(heap, stats)
    lock_drop(&heap.account.lock)


cdef part_t part_of(const frame_t *frame) noexcept nogil:
    cdef part_t part
    cdef slab_count_t count
    cdef uint16_t kind = frame_kind(frame)
    memset(&part, 0, sizeof(part))
    part.frame = <uint32_t>(frame - reservation.frames)
    part.chunk = frame.chunk_first
    part.start = <uint64_t>(frame.start - reservation.base)
    part.bytes = frame.piece_bytes
    part.kind = PART_PIECE
    if frame_is_slab(frame):
        count = slab_count(frame)
        part.kind = PART_SLAB
        part.slot_bytes = frame.slot_bytes
        part.slots = frame.slots
        part.live = count.live
        part.taken = count.taken
    elif kind == KIND_LARGE:
        part.kind = PART_LARGE
        part.slot_bytes = frame.object_bytes
        part.slots = part.live = 1
    elif kind == KIND_LARGE_FREE:
        part.kind = PART_KEPT
    return part


cdef size_t audit_layout(heap_t *heap, part_t *parts, size_t room) noexcept nogil:
    """Tell each mapped piece, in the order of addresses, as far as there is room. As exact as audit_heap."""
    cdef size_t count = 0
    cdef frame_t *frame
    lock_take(&heap.account.lock)
    frame = chunk_piece(&heap.account, NULL)
    while frame != NULL:
        if count < room:
            parts[count] = part_of(frame)
        count += 1
        frame = chunk_piece(&heap.account, frame)
    lock_drop(&heap.account.lock)
    return count


cdef void audit_holders(heap_t **holders) noexcept nogil:
    """Closed heaps are among them while an object lives in them. An account is the first part of its heap."""
    cdef size_t i, used = atomic_load_acquire(<uint64_t *>&reservation.used) >> FRAME_SHIFT
    cdef frame_t *frame
    cdef heap_t *heap
    cdef uint16_t kind
    memset(holders, 0, HEAPS_MAX * sizeof(holders[0]))
    for i in range(used):
        frame = reservation.frames + i
        kind = frame_kind(frame)
        if kind != KIND_UNUSED and kind != KIND_INHERITED:
            heap = <heap_t *>atomic_load_pointer(<void **>&frame.account)
            holders[heap.index] = heap


cdef bint pieces_add_up(heap_t *heap, audit_t *stats) noexcept nogil:
    """Whether the records of all mapped pieces tell the same as the lists and sums; large objects are looked at."""
    cdef frame_t *frame = chunk_piece(&heap.account, NULL)
    cdef size_t slabs = 0, free = 0, live = 0, live_bytes = 0, kept = 0
    cdef bint valid = True
    while frame != NULL:
        slabs += frame_is_slab(frame)
        free += frame_kind(frame) == KIND_PIECE
        kept += frame_kind(frame) == KIND_LARGE_FREE
        if frame_kind(frame) == KIND_LARGE:
            live += 1
            live_bytes += frame.object_bytes
            valid = valid and large_is_valid(frame)
        frame = chunk_piece(&heap.account, frame)
    return valid and (slabs == stats.slabs and free == stats.pieces_free and kept == stats.large_free
                      and live == stats.large_live and live_bytes == stats.large_bytes_live)


cdef bint audit_is_valid(heap_t *heap) noexcept nogil:
    """Whether every slot, piece and sum of the heap is as it should be; for tests, with no other thread in it."""
    cdef audit_t stats
    cdef cache_t *cache
    cdef frame_t *frame
    cdef size_t i, _left
    cdef size_t ready_bytes = 0
    cdef bint was_open, valid
    lock_take(&heap.account.lock)
    count_all(heap, &stats)
    valid = pieces_add_up(heap, &stats) and stats.committed == (
        stats.slab_bytes + stats.piece_bytes_free + stats.large_committed_live + stats.large_committed_free)
    for i in range(PIECE_LISTS):
        frame = heap.pieces.free[i]
        while frame != NULL:
            ready_bytes += frame.piece_bytes if frame.shape == SHAPE_READY else 0
            valid = valid and frame_kind(frame) == KIND_PIECE and frame.account == &heap.account
            frame = frame.next
    valid = valid and ready_bytes == heap.pieces.ready_bytes
    cache = heap.caches
    while cache != NULL:
        for i in range(BIN_COUNT):
            frame = cache.bins[i].ring
            for _left in range(cache.bins[i].ring_length):
                was_open = heaplock_peek(frame)
                valid = valid and (frame_is_slab(frame) and frame.owner == cache and frame.bin == i
                                   and slab_is_valid(frame))
                heaplock_unpeek(frame, was_open)
                frame = frame.next
        cache = cache.next
    lock_drop(&heap.account.lock)
    return valid
