"""Layer 4: timed loops over an allocator's C functions, for the benchmarks."""
from libc.stdint cimport uint32_t

cdef extern from "loops.h" nogil:
    enum way:
        WAY_PLAIN, WAY_WIPING, WAY_AT, WAY_HEAP
    cdef struct peer:
        way way
        void *alloc
        void *release
        void *heap
    cdef struct stand:
        void **places
        const uint32_t *order
        uint32_t live
    double loop_pair(const peer *peer, size_t size, long rounds)
    double loop_batch(const peer *peer, size_t size, long rounds, const stand *stand)
    double loop_churn(const peer *peer, size_t size, long rounds, const stand *stand)
    double loop_clear(const peer *peer, size_t size, const stand *stand)
    double loop_hand_over(const peer *peer, size_t size, long rounds)
