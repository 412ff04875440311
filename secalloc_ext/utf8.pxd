"""Layer 4: code points as UTF-8 spells them; pure functions."""
from libc.stdint cimport uint8_t, uint32_t


cdef inline bint is_surrogate(uint32_t c) noexcept nogil:
    """UTF-8 has none."""
    return 0xd800 <= c <= 0xdfff


cdef inline int utf8_length(uint32_t c) noexcept nogil:
    return 1 if c < 0x80 else 2 if c < 0x800 else 3 if c < 0x10000 else 4


cdef inline uint8_t utf8_byte(uint32_t c, int i, int length) noexcept nogil:
    """Byte i of a code point that has `length` of them: six bits each, behind a first one that tells how many."""
    cdef uint32_t bits = c >> 6 * (length - 1 - i)
    if i > 0:
        return <uint8_t>(0x80 | bits & 0x3f)
    return <uint8_t>(bits if length == 1 else 0xf00 >> length & 0xff | bits)
