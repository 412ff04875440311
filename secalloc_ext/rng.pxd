"""Layer 0: random bytes for placement; see rng.h. Not thread-safe: each thread cache has its own stream."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "rng.h" nogil:
    ctypedef struct rng_t "struct rng":
        uint32_t key[8]
        uint64_t block
        uint8_t bytes[256]
        uint8_t next
    void rng_fill(rng_t *rng) noexcept


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
