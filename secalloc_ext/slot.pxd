"""Layer 2: one slot from free to live and back; inline, as it is the common path of every alloc and free.

A live slot of `slot_bytes` that holds `size` bytes::

    |object: size bytes ...|0|c|c|c ... c|     canary: byte i of the slot is byte i % 8 of the secret,
    ^slot                  ^slack        ^     but the first byte of the slack is 0

The zero makes a string that ends one NUL too far harmless, and one byte that is not NUL an overflow. No byte of the
secret is zero. A free slot is all zero. `states[i]` is 0 when slot i is free and STATE_LIVE | size when live.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from secalloc_ext.frame cimport CARE_FLUSH, frame_t
from secalloc_ext.prim cimport (
    atomic_set_clear_bit, bytes_are_zero, fatal_error, flush_lines, load_64, pattern_difference, pattern_fill,
    rotate_right, atomic_load_16_relaxed, atomic_store_16_relaxed, atomic_store_16_release, store_64, unlikely,
    wipe, wipe_slot)

cdef enum:
    STATE_LIVE = 0x8000
    STATE_SIZE = 0x7fff


cdef inline void canary_fill(uint64_t secret, uint8_t *first, uint8_t *end, size_t size) noexcept nogil:
    """Fill the slack from `first`, `size` bytes into the slot, to the slot's `end`; at least SLACK_MIN bytes."""
    cdef uint64_t pattern = rotate_right(secret, <unsigned>(size & 7) * 8)
    if end - first > 16:
        pattern_fill(first + 8, end, pattern)
    store_64(end - 8, secret)
    store_64(first, pattern & ~<uint64_t>0xff)


cdef inline bint canary_is_intact(uint64_t secret, const uint8_t *first, const uint8_t *end,
                                  size_t size) noexcept nogil:
    cdef uint64_t pattern = rotate_right(secret, <unsigned>(size & 7) * 8)
    cdef uint64_t difference = load_64(first) ^ (pattern & ~<uint64_t>0xff)
    if end - first > 16:
        difference |= pattern_difference(first + 8, end, pattern)
    if end - first > 8:
        difference |= load_64(end - 8) ^ secret
    return difference == 0


cdef inline uint8_t *slot_open(uint8_t *slot, uint16_t *state, uint64_t secret, uint32_t slot_bytes,
                               size_t size) noexcept nogil:
    """Make a free slot live. Ends the process when the slot was written to after it was freed."""
    if unlikely(atomic_load_16_relaxed(state) != 0):
        fatal_error("damaged metadata")
    if unlikely(not bytes_are_zero(slot, slot_bytes)):
        fatal_error("write after free")
    canary_fill(secret, slot + size, slot + slot_bytes, size)
    atomic_store_16_release(state, <uint16_t>(STATE_LIVE | size))  # a fork copies what is live: then it has a canary
    return slot


cdef inline void slot_refuse(const frame_t *slab, size_t offset) noexcept nogil:
    """End the process: no slot begins so many bytes into the slab."""
    if offset < <size_t>slab.slots * slab.slot_bytes:
        fatal_error("pointer into the middle of an object")
    fatal_error("pointer was not allocated here")


cdef inline uint32_t slot_index(const frame_t *slab, const void *p) noexcept nogil:
    """Which slot begins at `p`; ends the process when none does. `p` lies in the slab's frame."""
    # Below the start it wraps, and no slot's offset is as large; the index is then whatever the product's bits say.
    cdef size_t offset = <size_t>(<const uint8_t *>p - slab.start)
    cdef uint32_t index = <uint32_t>(((offset >> 4) * <uint64_t>slab.reciprocal) >> 31)
    if unlikely(index >= slab.slots or index * <size_t>slab.slot_bytes != offset):
        slot_refuse(slab, offset)
    return index


cdef inline uint8_t *slot_start(const frame_t *slab, uint32_t index) noexcept nogil:
    return slab.start + index * <size_t>slab.slot_bytes


cdef inline size_t slot_size(const frame_t *slab, uint32_t index) noexcept nogil:
    """The requested size of a live slot, its canary checked. Ends the process for a free or damaged slot."""
    cdef uint16_t state = atomic_load_16_relaxed(slab.states + index)
    cdef uint8_t *slot = slot_start(slab, index)
    cdef size_t size = state & STATE_SIZE
    if unlikely(not state & STATE_LIVE):
        fatal_error("double free")
    if unlikely(not canary_is_intact(slab.canary, slot + size, slot + slab.slot_bytes, size)):
        fatal_error("overflow")
    return size


cdef inline void slot_close(const frame_t *slab, uint32_t index) noexcept nogil:
    """Wipe a live slot. It is nobody's then, until slot_give."""
    atomic_store_16_relaxed(slab.states + index, 0)
    wipe_slot(slot_start(slab, index), slab.slot_bytes)


cdef inline void slot_flush(const frame_t *slab, uint32_t index) noexcept nogil:
    if slab.care & CARE_FLUSH:
        flush_lines(slot_start(slab, index), slab.slot_bytes)


cdef inline bint slot_give(const frame_t *slab, uint32_t index) noexcept nogil:
    """Give a closed slot back to its slab's bitmap, from any thread. Answers whether its whole word is free now."""
    cdef uint64_t bit = <uint64_t>1 << (index & 63)
    cdef uint64_t before = atomic_set_clear_bit(slab.bitmap + (index >> 6), index & 63)
    if unlikely(before & bit):
        fatal_error("double free")
    return before == ~bit


cdef inline void slot_zero(const frame_t *slab, uint32_t index) noexcept nogil:
    """Zero the object in a slot, if one lives there; it goes on living."""
    cdef uint16_t state = atomic_load_16_relaxed(slab.states + index)
    if state & STATE_LIVE:
        wipe(slot_start(slab, index), state & STATE_SIZE)
        slot_flush(slab, index)
