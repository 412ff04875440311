/* Layer 2: one slot from free to live and back; the common path of every alloc and free.
 *
 * Opening ends the process when the slot is not free, or was written to since it was; closing, when it is not live, or
 * its canary is damaged. slot.pxd draws a slot.
 */
#ifndef SECALLOC_SLOT_H
#define SECALLOC_SLOT_H

#include "zeros.h"

enum { STATE_LIVE = 0x8000, STATE_SIZE = 0x7fff, SLACK_SHORT = 24 };

#define inlined static inline __attribute__((always_inline, unused))

/* Byte i of the canary is byte i % 8 of the secret, whatever the object's size: as eight bytes from `size` on. */
inlined uint64_t canary_pattern(uint64_t secret, size_t size) { return rotate_right(secret, (unsigned)(size & 7) * 8); }

/* The first eight, of which one is the zero behind a string. */
inlined uint64_t canary_head(uint64_t pattern) { return pattern & ~(uint64_t)0xff; }

/* Fill the `slack` bytes from `first` on, which is `size` bytes into the slot; SLACK_MIN or more. */
inlined void canary_fill(uint64_t secret, uint8_t *first, size_t slack, size_t size)
{
    uint64_t pattern = canary_pattern(secret, size);
    if (slack > SLACK_SHORT)
        pattern_fill(first + 8, first + slack, pattern);
    else if (slack > 16)
        store_64(first + 8, pattern);
    store_64(first + slack - 8, secret);
    store_64(first, canary_head(pattern));
}

inlined int canary_is_intact(uint64_t secret, const uint8_t *first, size_t slack, size_t size)
{
    uint64_t pattern = canary_pattern(secret, size);
    uint64_t difference = load_64(first) ^ canary_head(pattern);
    if (slack > 8)
        difference |= load_64(first + slack - 8) ^ secret;
    if (slack > SLACK_SHORT)
        difference |= pattern_difference(first + 8, first + slack, pattern);
    else if (slack > 16)
        difference |= load_64(first + 8) ^ pattern;
    return difference == 0;
}

/* `is_zero`: see slot_is_zero of slot.pxd. */
inlined void *slot_open(uint8_t *slot, uint16_t *state, uint64_t secret, size_t slot_bytes, size_t size, int is_zero)
{
    if (unlikely(atomic_load_16_relaxed(state) != 0))
        fatal_error("damaged metadata");
    if (unlikely(!is_zero))
        fatal_error("write after free");
    canary_fill(secret, slot + size, slot_bytes - size, size);
    atomic_store_16_release(state, (uint16_t)(STATE_LIVE | size)); /* a fork copies what is live: then it has a canary */
    return slot;
}

/* The requested size; `live` is what the state was. */
inlined size_t slot_check(uint64_t secret, const uint8_t *slot, size_t slot_bytes, unsigned live)
{
    size_t size = live & STATE_SIZE;
    if (unlikely(!(live & STATE_LIVE)))
        fatal_error("double free");
    if (unlikely(!canary_is_intact(secret, slot + size, slot_bytes - size, size)))
        fatal_error("overflow");
    return size;
}

/* Any slot. */
inlined void slot_close_any(uint8_t *slot, uint16_t *state, uint64_t secret, size_t slot_bytes, unsigned live)
{
    slot_check(secret, slot, slot_bytes, live);
    atomic_store_16_relaxed(state, 0);
    wipe_slot(slot, slot_bytes);
}

/* The common case of both, which calls no function: what is not common is cut off for the compiler. */
inlined int slot_is_common(size_t slot_bytes, size_t size)
{
    return slot_bytes <= inline_bytes && slot_bytes - size <= SLACK_SHORT;
}

inlined void *slot_open_common(uint8_t *slot, uint16_t *state, uint64_t secret, size_t slot_bytes, size_t size)
{
    static const char phrase[] = "write after free";
    if (!slot_is_common(slot_bytes, size))
        __builtin_unreachable();
    if (slot_bytes > SHORT_BYTES) {
        if (unlikely(!bytes_are_zero_32(slot, slot_bytes)))
            fatal_error(phrase);
    } else if (unlikely(!bytes_are_zero_short(slot, slot_bytes))) {
        fatal_error(phrase);
    }
    return slot_open(slot, state, secret, slot_bytes, size, 1);
}

inlined void slot_close_common(uint8_t *slot, uint16_t *state, uint64_t secret, size_t slot_bytes, unsigned live)
{
    if (!slot_is_common(slot_bytes, live & STATE_SIZE))
        __builtin_unreachable();
    slot_check(secret, slot, slot_bytes, live);
    atomic_store_16_relaxed(state, 0);
    if (slot_bytes > SHORT_BYTES)
        wipe_32(slot, slot_bytes);
    else
        wipe_short(slot, slot_bytes);
}

#undef inlined
#endif
