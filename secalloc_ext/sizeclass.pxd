"""Layer 2: size arithmetic of the slots; pure functions.

`size` is what was asked for, in bytes; a slot holds it and SLACK_MIN bytes or more of canary. Slots are 16, 32, ...,
128 bytes, then four to a doubling plus 16: 144, 176, 208, 240, 272, 336, ..., 16400. The 16 let a power of two and
its canary share a slot, instead of falling into the next class. The lined family has the same classes, its slots
rounded up to whole cache lines, for array data.
"""
from libc.stdint cimport uint8_t, uint32_t
from secalloc_ext.prim cimport LINE_BYTES, SLACK_MIN, bits_last, likely

cdef extern from *:
    """
    /* By size and slack in steps of 16: for the sizes that are asked for most, a look-up is soonest done. */
    enum { TABLE_BYTES = 1040 };
    static const uint8_t class_table[TABLE_BYTES / 16 + 1] = {
        0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 13, 13, 14, 14, 14, 14, 15, 15, 15, 15,
        16, 16, 16, 16, 17, 17, 17, 17, 17, 17, 17, 17, 18, 18, 18, 18, 18, 18, 18, 18,
        19, 19, 19, 19, 19, 19, 19, 19, 20, 20, 20, 20, 20, 20, 20, 20};
    """
    enum:
        TABLE_BYTES
    const uint8_t class_table[]

cdef enum:
    CLASS_COUNT = 37
    BIN_COUNT = 74            # both families: plain classes first, lined ones behind them
    SMALL_BYTES_MAX = 16392   # a request above this is a large object


cdef inline unsigned class_of_size(size_t size) noexcept nogil:
    """The smallest class whose slot holds `size` and its slack; `size` is at most SMALL_BYTES_MAX."""
    cdef size_t need = size + SLACK_MIN
    cdef unsigned top
    if likely(need <= TABLE_BYTES):
        return class_table[(need + 15) >> 4]
    need -= 17                # the nominal size less one, as the slot is nominal + 16
    top = bits_last(need)
    return (top << 2) + <unsigned>((need >> (top - 2)) & 3) - 19


cdef inline uint32_t class_slot_bytes(unsigned size_class, bint lined) noexcept nogil:
    cdef uint32_t slot = 16 * (size_class + 1)
    if size_class >= 8:
        slot = ((4 + ((size_class - 8) & 3)) << (5 + ((size_class - 8) >> 2))) + 16
    return (slot + LINE_BYTES - 1) & ~<uint32_t>(LINE_BYTES - 1) if lined else slot
