"""Layer 2: one slot from free to live and back; inline, as it is the common path of every alloc and free.

A live slot of `slot_bytes` that holds `size` bytes::

    |object: size bytes ...|0|c|c|c ... c|     canary: byte i of the slot is byte i % 8 of the secret,
    ^slot                  ^slack        ^     but the first byte of the slack is 0

The zero makes a string that ends one NUL too far harmless, and one byte that is not NUL an overflow. No byte of the
secret is zero. A free slot is all zero. `states[i]` is 0 when slot i is free and STATE_LIVE | size when live.

slot.h opens and closes slots; zeros.h says how they are zeroed.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from secalloc_ext.frame cimport CARE_FLUSH, frame_t
from secalloc_ext.prim cimport (
    SAMPLE_ABOVE, atomic_load_16_relaxed, atomic_set_clear_bit, bytes_are_zero, bytes_are_zero_in_sample, fatal_error,
    flush_lines, unlikely, wipe)
from secalloc_ext.rng cimport rng_byte, rng_t

cdef extern from "slot.h" nogil:
    enum:
        STATE_LIVE, STATE_SIZE
    void canary_fill(uint64_t secret, uint8_t *first, size_t slack, size_t size) noexcept
    bint canary_is_intact(uint64_t secret, const uint8_t *first, size_t slack, size_t size) noexcept
    bint slot_is_common(size_t slot_bytes, size_t size) noexcept
    void *slot_open(uint8_t *slot, uint16_t *state, uint64_t secret, size_t slot_bytes, size_t size,
                    bint is_zero) noexcept
    void *slot_open_common(uint8_t *slot, uint16_t *state, uint64_t secret, size_t slot_bytes, size_t size) noexcept
    size_t slot_check(uint64_t secret, const uint8_t *slot, size_t slot_bytes, unsigned live) noexcept
    void slot_close_common(uint8_t *slot, uint16_t *state, uint64_t secret, size_t slot_bytes, unsigned live) noexcept
    void slot_close_any(uint8_t *slot, uint16_t *state, uint64_t secret, size_t slot_bytes, unsigned live) noexcept


cdef inline bint slot_is_zero(const uint8_t *slot, size_t slot_bytes, bint whole, rng_t *rng) noexcept nogil:
    """Whether nothing was written to a free slot, or to a large object kept open; in a sample, or in the `whole`."""
    if whole or slot_bytes <= SAMPLE_ABOVE:
        return bytes_are_zero(slot, slot_bytes)
    return bytes_are_zero_in_sample(slot, slot_bytes, rng_byte(rng) << 8 | rng_byte(rng))


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
    return slot_check(slab.canary, slot_start(slab, index), slab.slot_bytes,
                      atomic_load_16_relaxed(slab.states + index))


cdef inline void slot_close(const frame_t *slab, uint32_t index) noexcept nogil:
    """Check and wipe a live slot. It is nobody's then, until slot_give."""
    slot_close_any(slot_start(slab, index), slab.states + index, slab.canary, slab.slot_bytes,
                   atomic_load_16_relaxed(slab.states + index))


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
