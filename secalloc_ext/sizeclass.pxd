"""Layer 2: size arithmetic of the slots; pure functions.

`size` is what was asked for, in bytes; a slot holds it and SLACK_MIN bytes or more of canary. Slots are 16, 32, ...,
128 bytes, then four to a doubling plus 16: 144, 176, 208, 240, 272, 336, ..., 16400. The 16 let a power of two and
its canary share a slot, instead of falling into the next class. The lined family has the same classes, its slots
rounded up to whole cache lines, for array data.
"""
from libc.stdint cimport uint32_t
from secalloc_ext.prim cimport LINE_BYTES, SLACK_MIN, bits_last

cdef enum:
    CLASS_COUNT = 37
    BIN_COUNT = 74            # both families: plain classes first, lined ones behind them
    SMALL_BYTES_MAX = 16392   # a request above this is a large object


cdef inline unsigned class_of_size(size_t size) noexcept nogil:
    """The smallest class whose slot holds `size` and its slack; `size` is at most SMALL_BYTES_MAX."""
    cdef size_t need = size + SLACK_MIN
    cdef unsigned top
    if need <= 128:
        return <unsigned>((need + 15) >> 4) - 1
    need -= 17                # the nominal size less one, as the slot is nominal + 16
    top = bits_last(need)
    return (top << 2) + <unsigned>((need >> (top - 2)) & 3) - 19


cdef inline uint32_t class_slot_bytes(unsigned size_class, bint lined) noexcept nogil:
    cdef uint32_t slot = 16 * (size_class + 1)
    if size_class >= 8:
        slot = ((4 + ((size_class - 8) & 3)) << (5 + ((size_class - 8) >> 2))) + 16
    return (slot + LINE_BYTES - 1) & ~<uint32_t>(LINE_BYTES - 1) if lined else slot
