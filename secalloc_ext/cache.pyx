# cython: language_level=3
"""Layer 3: how a thread cache is stocked, and how empty slabs are got back.

A cache owns, for each bin, a ring of slabs. The bin's stock is one word of one slab's bitmap, taken with one atomic
operation. When it is used up::

    another word of the current slab   no lock
    another slab of the ring           the heap's lock
    a new slab: a free piece, an emptied slab, a new chunk
    any slot of the ring, then another cache's slab, when no memory is to be had

A bin's current slab is pinned: no other thread takes slots from it, retires it or moves it to another cache. Which
slab is current changes under the heap's lock only.
"""
from libc.stdint cimport uint8_t
from secalloc_ext.frame cimport SHAPE_USED, frame_is_slab, frame_t
from secalloc_ext.large cimport large_drop
from secalloc_ext.pieces cimport (
    PIECE_FIRST, PIECE_LARGEST, pieces_drop, pieces_give, pieces_grow, pieces_index, pieces_take)
from secalloc_ext.prefault cimport prefault_has_reserve, prefault_wish
from secalloc_ext.prim cimport (
    FRAME_SHIFT, LINE_BYTES, atomic_load_pointer, atomic_load_relaxed, atomic_store_pointer, atomic_store_relaxed,
    bits_count, lock_drop, lock_take, prefetch)
from secalloc_ext.rng cimport rng_byte, rng_secret
from secalloc_ext.sizeclass cimport BIN_COUNT, CLASS_COUNT, class_slot_bytes
from secalloc_ext.slab cimport slab_give, slab_init, slab_peek, slab_retire, slab_take

cdef enum:
    VISITS_MAX = 8                   # slabs of the ring looked at before a new one is made
    WORD_GOOD = 16                   # free slots that make a word worth taking without looking further
    SLOTS_PER_SLAB_MIN = 4
    PREFETCH_BYTES_MAX = 8192        # a quarter of a first-level cache


cdef void ring_link(bin_t *bin, frame_t *slab) noexcept nogil:
    if bin.ring == NULL:
        slab.next = slab.previous = slab
    else:
        slab.next = bin.ring.next
        slab.previous = bin.ring
        bin.ring.next.previous = slab
        bin.ring.next = slab
    bin.ring = slab
    bin.ring_length += 1


cdef void ring_unlink(bin_t *bin, frame_t *slab) noexcept nogil:
    bin.ring_length -= 1
    if bin.ring_length == 0:
        bin.ring = NULL
    else:
        slab.previous.next = slab.next
        slab.next.previous = slab.previous
        if bin.ring == slab:
            bin.ring = slab.next


cdef void caches_tidy(heap_t *heap, size_t keep) noexcept nogil:
    """Turn empty slabs into free pieces, and release all but `keep` bytes of empty chunks. The lock is held."""
    cdef cache_t *cache = heap.caches
    cdef size_t i, left
    cdef bin_t *bin
    cdef frame_t *slab
    cdef frame_t *following
    atomic_store_relaxed(&heap.words_freed, 0)
    while cache != NULL:
        for i in range(BIN_COUNT):
            bin = &cache.bins[i]
            slab = bin.ring
            left = bin.ring_length
            while left > 0:
                left -= 1
                following = slab.next
                if slab != <frame_t *>atomic_load_pointer(<void **>&bin.slab) and slab_retire(slab):
                    ring_unlink(bin, slab)
                    pieces_give(&heap.pieces, slab)
                slab = following
        cache = cache.next
    pieces_drop(&heap.pieces, keep)


cdef bint is_worth_tidying(heap_t *heap) noexcept nogil:
    """Whether about as many words came free as slabs have to be looked at."""
    cdef size_t words = atomic_load_relaxed(&heap.words_freed)
    return words > 0 and words >= heap.account.committed >> FRAME_SHIFT


cdef frame_t *slab_new(cache_t *cache, size_t bin_index, int *error) noexcept nogil:
    """A slab with all slots free: from a free piece, an emptied slab, a new chunk, or whatever piece is left."""
    cdef heap_t *heap = cache.heap
    cdef bin_t *bin = &cache.bins[bin_index]
    cdef size_t slot = class_slot_bytes(bin_index % CLASS_COUNT, bin_index >= CLASS_COUNT)
    cdef size_t smallest = pieces_index(slot)
    cdef size_t index = pieces_index(slot * SLOTS_PER_SLAB_MIN)
    cdef size_t grown = PIECE_FIRST + bin.ring_length
    cdef frame_t *piece
    if index < grown:
        index = grown if grown < PIECE_LARGEST else PIECE_LARGEST
    piece = pieces_take(&heap.pieces, index, True)
    if piece == NULL and is_worth_tidying(heap):
        caches_tidy(heap, heap.retain)
        piece = pieces_take(&heap.pieces, index, True)
    if piece == NULL and (index == PIECE_LARGEST or prefault_has_reserve(&heap.pieces)):
        piece = pieces_take(&heap.pieces, index, False)
    if piece == NULL and pieces_grow(&heap.pieces, index, index, 0, error):
        piece = pieces_take(&heap.pieces, index, False)
    if piece == NULL:
        piece = pieces_take(&heap.pieces, smallest, False)
    if piece == NULL and heap.large.free_count > 0:
        large_drop(&heap.large, 0)
    if piece == NULL and pieces_grow(&heap.pieces, index, smallest, 0, error):
        piece = pieces_take(&heap.pieces, smallest, False)
    if piece != NULL:
        slab_init(piece, <unsigned>bin_index, cache, rng_secret(&cache.rng))
        ring_link(bin, piece)
        if piece.shape != SHAPE_USED:
            prefault_wish(&heap.pieces)
    return piece


cdef void bin_unload(bin_t *bin) noexcept nogil:
    """Give back what the bin holds of its word."""
    if bin.word | bin.freed:
        slab_give(bin.slab, bin.word_index, bin.word | bin.freed)
        bin.word = bin.freed = 0


cdef void word_prefetch(const bin_t *bin) noexcept nogil:
    """The slots of a word that was just taken are allocated one by one, at random: too scattered for the processor to
    see it coming, when the heap is larger than its caches."""
    cdef const uint8_t *line = bin.base
    cdef const uint8_t *end = line + 64 * bin.slot_bytes
    if end - line > PREFETCH_BYTES_MAX:
        return
    prefetch(bin.states)
    while line < end:
        prefetch(line)
        line += LINE_BYTES


cdef bint bin_load(cache_t *cache, bin_t *bin, frame_t *slab, size_t fewest) noexcept nogil:
    """Take a word of the slab that has many free slots, or the best there is if it has `fewest`; make the slab
    current. The slab is current already, or the heap's lock is held."""
    cdef size_t words = (slab.slots + 63) >> 6
    cdef size_t start = (rng_byte(&cache.rng) * words) >> 8
    cdef size_t good = WORD_GOOD if slab.slots >= 128 else (slab.slots + 7) >> 3
    cdef size_t best = 0, best_word = 0
    cdef size_t i, word, count
    for i in range(words):
        word = start + i if start + i < words else start + i - words
        count = bits_count(slab_peek(slab, word))
        if count > best:
            best = count
            best_word = word
            if count >= good:
                break
    if best == 0 or best < fewest and best < good:
        return False
    atomic_store_pointer(<void **>&bin.slab, slab)
    bin.word = slab_take(slab, best_word)
    bin.word_index = <uint32_t>best_word
    bin.base = slab.start + (best_word << 6) * slab.slot_bytes
    bin.states = slab.states + (best_word << 6)
    bin.canary = slab.canary
    bin.slot_bytes = slab.slot_bytes
    word_prefetch(bin)
    return bin.word != 0


cdef bint bin_load_ring(cache_t *cache, bin_t *bin, size_t visits, size_t fewest) noexcept nogil:
    """Load from a slab of the ring, going round it from where the last visit ended."""
    if visits > bin.ring_length:
        visits = bin.ring_length
    while visits > 0:
        visits -= 1
        bin.ring = bin.ring.next
        if bin_load(cache, bin, bin.ring, fewest):
            return True
    return False


cdef bint bin_steal(cache_t *cache, size_t bin_index) noexcept nogil:
    """When no memory is to be had: make a slab of another cache's ours if it has a free slot."""
    cdef bin_t *bin = &cache.bins[bin_index]
    cdef cache_t *other = cache.heap.caches
    cdef bin_t *source
    cdef frame_t *slab
    cdef size_t left
    while other != NULL:
        source = &other.bins[bin_index]
        left = source.ring_length if other != cache else 0
        slab = source.ring
        while left > 0:
            left -= 1
            if slab != <frame_t *>atomic_load_pointer(<void **>&source.slab) and bin_load(cache, bin, slab, 1):
                ring_unlink(source, slab)
                atomic_store_pointer(&slab.owner, cache)
                ring_link(bin, slab)
                return True
            slab = slab.next
        other = other.next
    return False


cdef bint cache_refill(cache_t *cache, size_t bin_index, int *error) noexcept nogil:
    """Stock an empty bin. False with `error` set when no secret memory is to be had."""
    cdef heap_t *heap = cache.heap
    cdef bin_t *bin = &cache.bins[bin_index]
    cdef frame_t *slab
    cdef bint loaded
    bin_unload(bin)
    if bin.slab != NULL and bin_load(cache, bin, bin.slab, WORD_GOOD // 2):
        return True
    lock_take(&heap.account.lock)
    slab = <frame_t *>atomic_load_pointer(<void **>&bin.hint)
    loaded = (slab != NULL and frame_is_slab(slab) and atomic_load_pointer(&slab.owner) == cache
              and slab.bin == bin_index
              and bin_load(cache, bin, slab, 1))
    if not loaded:
        atomic_store_pointer(<void **>&bin.hint, NULL)
        loaded = bin_load_ring(cache, bin, VISITS_MAX, WORD_GOOD // 2)
    if not loaded:
        slab = slab_new(cache, bin_index, error)
        loaded = (slab != NULL and bin_load(cache, bin, slab, 1)
                  or bin_load_ring(cache, bin, bin.ring_length, 1)
                  or bin_steal(cache, bin_index))
    if not loaded:
        cache_flush(cache)  # slots of other classes kept at hand keep their slabs from being empty
        caches_tidy(heap, 0)
        slab = slab_new(cache, bin_index, error)
        loaded = slab != NULL and bin_load(cache, bin, slab, 1)
    lock_drop(&heap.account.lock)
    return loaded


cdef void cache_flush(cache_t *cache) noexcept nogil:
    """Give back all slots taken and unpin the current slabs. The cache's own thread, or none uses it any more."""
    cdef size_t i
    for i in range(BIN_COUNT):
        bin_unload(&cache.bins[i])
        cache.bins[i].slab = NULL


cdef void cache_enter(cache_t *cache, const void *thread) noexcept nogil:
    """Where a heap can be closed, another thread then empties the bins while this one may be freeing."""
    atomic_store_pointer(<void **>&cache.thread, <void *>thread if cache.heap.index == 0 else <void *>cache)


cdef void cache_leave(cache_t *cache) noexcept nogil:
    """The cache's thread is gone; the next that comes adopts it."""
    atomic_store_pointer(<void **>&cache.thread, cache)
    cache.next_idle = cache.heap.idle
    cache.heap.idle = cache
