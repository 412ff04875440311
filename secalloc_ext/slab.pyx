# cython: language_level=3, cdivision=True
"""Layer 2: slabs.

A slab's bitmap has one bit a slot, set while the slot is free and in no thread cache. Bits behind the last slot are
always set, so that a word of all ones means "nothing of these 64 is in use" in the last word as well.

Who may do what: slots leave the bitmap (`slab_take`) through the owner, or through whoever holds the heap's lock while
the slab is no cache's current one; slots come back (`slot_give`, `slab_give`) from any thread, by one atomic OR.

Invariant: slots = live (state says so) + free (bit set) + taken (bit clear, state 0: in a thread cache or quarantine).
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from secalloc_ext.frame cimport KIND_PIECE, KIND_SLAB, KIND_SLAB_LOCKED, account_is_locked, frame_mark, frame_t
from secalloc_ext.prim cimport (
    SLAB_SLOTS_MAX, atomic_and_acquire, atomic_load_16_relaxed, atomic_load_acquire, atomic_load_relaxed,
    atomic_or_release, atomic_store_16_relaxed, atomic_store_pointer, atomic_store_relaxed, bytes_are_zero)
from secalloc_ext.sizeclass cimport BIN_COUNT, CLASS_COUNT, class_slot_bytes
from secalloc_ext.slot cimport STATE_LIVE, STATE_SIZE, canary_is_intact

cdef uint64_t ALL = <uint64_t>-1


cdef size_t words_of(const frame_t *slab) noexcept nogil:
    return (slab.slots + 63) >> 6


cdef uint64_t absent(const frame_t *slab, size_t word) noexcept nogil:
    """The bits of a word that stand for no slot."""
    cdef size_t slots = slab.slots - (word << 6)
    return 0 if slots >= 64 else ALL << slots


cdef void slab_init(frame_t *slab, unsigned bin, void *owner, uint64_t secret) noexcept nogil:
    """Cut a piece (all zero, as is its state array) into slots of `bin`'s class, all free.

    Whoever freed the last slot of an earlier slab here may look at `bin`, `owner` and the bitmap only now.
    """
    cdef uint32_t slot = class_slot_bytes(bin % CLASS_COUNT, bin >= CLASS_COUNT)
    cdef uint32_t unit = slot >> 4
    cdef size_t word
    atomic_store_16_relaxed(&slab.bin, <uint16_t>bin)
    atomic_store_pointer(&slab.owner, owner)
    slab.canary = secret
    slab.slot_bytes = slot
    slab.slots = <uint32_t>(slab.piece_bytes // slot)
    slab.reciprocal = ((<uint32_t>1 << 31) + unit - 1) // unit
    for word in range(words_of(slab)):
        atomic_store_relaxed(slab.bitmap + word, ALL)
    frame_mark(slab, KIND_SLAB_LOCKED if account_is_locked(slab.account) else KIND_SLAB)


cdef uint64_t slab_peek(const frame_t *slab, size_t word) noexcept nogil:
    return atomic_load_relaxed(slab.bitmap + word) & ~absent(slab, word)


cdef uint64_t slab_take(frame_t *slab, size_t word) noexcept nogil:
    cdef uint64_t keep = absent(slab, word)
    return atomic_and_acquire(slab.bitmap + word, keep) & ~keep


cdef void slab_give(frame_t *slab, size_t word, uint64_t bits) noexcept nogil:
    atomic_or_release(slab.bitmap + word, bits)


cdef void slab_free_all(frame_t *slab) noexcept nogil:
    """Let every slot that does not live be free, whoever had it taken. No other thread may be in the process."""
    cdef uint32_t i
    memset(slab.bitmap, 0xff, words_of(slab) * 8)
    for i in range(slab.slots):
        if atomic_load_16_relaxed(slab.states + i) & STATE_LIVE:
            slab.bitmap[i >> 6] &= ~(<uint64_t>1 << (i & 63))


cdef bint slab_is_empty(const frame_t *slab) noexcept nogil:
    cdef size_t word
    for word in range(words_of(slab)):
        if atomic_load_acquire(slab.bitmap + word) != ALL:
            return False
    return True


cdef bint slab_retire(frame_t *slab) noexcept nogil:
    """Turn an empty slab back into a piece. The caller may take from it, so an empty one stays empty."""
    if not slab_is_empty(slab):
        return False
    frame_mark(slab, KIND_PIECE)
    return True


cdef slab_count_t slab_count(const frame_t *slab) noexcept nogil:
    """Count the slots. Exact while no other thread allocates or frees in the slab."""
    cdef slab_count_t count
    cdef uint32_t i
    cdef uint16_t state
    memset(&count, 0, sizeof(count))
    for i in range(slab.slots):
        state = atomic_load_16_relaxed(slab.states + i)
        if state & STATE_LIVE:
            count.live += 1
            count.live_bytes += state & STATE_SIZE
        elif slab_peek(slab, i >> 6) >> (i & 63) & 1:
            count.free += 1
        else:
            count.taken += 1
    return count


cdef bint slab_is_valid(const frame_t *slab) noexcept nogil:
    """Whether every slot is as its state says. Reads all of it: for tests, with no other thread in the slab."""
    cdef uint32_t i
    cdef uint16_t state
    cdef size_t size
    cdef const unsigned char *slot
    if slab.bin >= BIN_COUNT or slab.slots == 0 or slab.slots > SLAB_SLOTS_MAX:
        return False
    if slab.slot_bytes != class_slot_bytes(slab.bin % CLASS_COUNT, slab.bin >= CLASS_COUNT):
        return False
    if <size_t>slab.slots * slab.slot_bytes > slab.piece_bytes:
        return False
    for i in range(slab.slots):
        state = atomic_load_16_relaxed(slab.states + i)
        slot = slab.start + i * slab.slot_bytes
        if state & STATE_LIVE:
            size = state & STATE_SIZE
            if slab_peek(slab, i >> 6) >> (i & 63) & 1 or size + 8 > slab.slot_bytes:
                return False
            if not canary_is_intact(slab.canary, slot + size, slab.slot_bytes - size, size):
                return False
        elif state != 0 or not bytes_are_zero(slot, slab.slot_bytes):
            return False
    return atomic_load_relaxed(slab.bitmap + words_of(slab) - 1) & absent(slab, words_of(slab) - 1) == absent(
        slab, words_of(slab) - 1)
