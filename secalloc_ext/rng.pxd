"""Layer 0: a ChaCha8 stream of random bytes for placement: which slot, which gap. Not for keys: those come from
getrandom(2). D. J. Bernstein, "ChaCha, a variant of Salsa20" (2008); eight rounds, a 64-bit block counter.

Not thread-safe: each thread cache has its own.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from secalloc_ext.prim cimport rotate_left_32

cdef struct rng_t:
    uint32_t key[8]
    uint64_t block       # counter of the next block
    uint8_t bytes[256]   # four blocks, used up in order, but for the first byte
    uint8_t next         # index into bytes; 0: all are used


cdef inline void rng_quarter(uint32_t *x, int a, int b, int c, int d) noexcept nogil:
    x[a] += x[b]
    x[d] = rotate_left_32(x[d] ^ x[a], 16)
    x[c] += x[d]
    x[b] = rotate_left_32(x[b] ^ x[c], 12)
    x[a] += x[b]
    x[d] = rotate_left_32(x[d] ^ x[a], 8)
    x[c] += x[d]
    x[b] = rotate_left_32(x[b] ^ x[c], 7)


cdef inline void rng_block(const uint32_t *key, uint64_t block, uint8_t *out) noexcept nogil:
    """One ChaCha8 block of 64 bytes with a zero nonce."""
    cdef uint32_t start[16]
    cdef uint32_t x[16]
    cdef int i, _round
    start[0], start[1], start[2], start[3] = 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574
    for i in range(8):
        start[4 + i] = key[i]
    start[12] = <uint32_t>block
    start[13] = <uint32_t>(block >> 32)
    start[14] = start[15] = 0
    memcpy(x, start, sizeof(x))
    for _round in range(4):
        rng_quarter(x, 0, 4, 8, 12)
        rng_quarter(x, 1, 5, 9, 13)
        rng_quarter(x, 2, 6, 10, 14)
        rng_quarter(x, 3, 7, 11, 15)
        rng_quarter(x, 0, 5, 10, 15)
        rng_quarter(x, 1, 6, 11, 12)
        rng_quarter(x, 2, 7, 8, 13)
        rng_quarter(x, 3, 4, 9, 14)
    for i in range(16):
        x[i] += start[i]
    memcpy(out, x, sizeof(x))


cdef inline void rng_fill(rng_t *rng) noexcept nogil:
    cdef int i
    for i in range(4):
        rng_block(rng.key, rng.block, rng.bytes + 64 * i)
        rng.block += 1
    rng.next = 1


cdef inline bint rng_is_ready(const rng_t *rng) noexcept nogil:
    """Whether rng_byte has one without work."""
    return rng.next != 0


cdef inline unsigned rng_byte(rng_t *rng) noexcept nogil:
    """A random byte. The stream must have been filled once since its key was set."""
    cdef unsigned byte
    if not rng_is_ready(rng):
        rng_fill(rng)
    byte = rng.bytes[rng.next]
    rng.next += 1
    return byte


cdef inline uint64_t rng_secret(rng_t *rng) noexcept nogil:
    """Eight random bytes, none of them zero: a canary's secret."""
    cdef uint64_t secret = 0
    cdef unsigned byte
    cdef int _i
    for _i in range(8):
        byte = rng_byte(rng)
        while byte == 0:
            byte = rng_byte(rng)
        secret = secret << 8 | byte
    return secret
