"""Layer 4: timed loops over an allocator's C functions, for the benchmarks."""
from libc.stdint cimport uint32_t, uint64_t

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
    cdef struct trace:
        void **places
        uint32_t *bytes
        const uint32_t *sizes
        uint32_t count, sizes_count
        uint64_t random, live, live_bytes
    const char *compiler
    void *bare_alloc(size_t size, const char *file, int line)
    void bare_release(void *p, size_t size, const char *file, int line)
    void *peer_make(const peer *peer, way way, size_t size)
    void peer_release(const peer *peer, way way, void *p, size_t size)
    double loop_wipe(void *p, size_t size, long rounds)
    double loop_memset(void *p, size_t size, long rounds)
    double loop_trace(const peer *peer, long steps, uint32_t share, trace *trace)
    double loop_trace_clear(const peer *peer, trace *trace)
    double loop_pair(const peer *peer, size_t size, long rounds)
    double loop_batch(const peer *peer, size_t size, long rounds, const stand *stand)
    double loop_churn(const peer *peer, size_t size, long rounds, const stand *stand)
    double loop_clear(const peer *peer, size_t size, const stand *stand)
    double loop_hand_over(const peer *peer, size_t size, long rounds)

cdef extern from "loops.h":
    int call_loop(object make, object argument, long rounds) except -1
