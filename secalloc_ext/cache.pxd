"""Layer 3: heaps as a whole and the thread caches in them: the types, stocking, tidying."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from secalloc_ext.frame cimport account_t, frame_t
from secalloc_ext.large cimport large_pool_t
from secalloc_ext.pieces cimport pieces_t
from secalloc_ext.quarantine cimport quarantine_t
from secalloc_ext.revealpages cimport reveal_stock_t
from secalloc_ext.rng cimport rng_t
from secalloc_ext.sizeclass cimport BIN_COUNT

cdef enum:
    HEAPS_MAX = 256
cdef enum on_fork_t:
    ON_FORK_ISOLATE = 0    # a child does not see the heap's objects
    ON_FORK_COPY = 1       # a child gets copies of its own, at the same addresses

cdef struct bin_t:         # a cache's stock of one class: the free slots of one bitmap word
    uint64_t word          # bit set = slot free and ours
    uint64_t freed         # bit set = slot of the same word that our thread freed since; goes back with the next refill
    uint8_t *base          # the word's first slot
    uint16_t *states       # and its state
    uint64_t canary
    uint32_t slot_bytes, word_index
    frame_t *slab          # the current slab, which nobody else takes from or retires; NULL at first
    frame_t *ring          # the slabs of this bin that the cache owns, circular; guarded by the heap's lock
    size_t ring_length
    frame_t *hint          # a slab in which a whole word came free; any thread writes it, the owner checks it
    uint64_t _unused[6]    # two cache lines, what an alloc reads in the first; and found by a shift

cdef struct cache_t:
    heap_t *heap
    const void *thread     # the one whose frees need no atomic: its own, in a heap that is never closed; else itself
    cache_t *next          # all caches of the heap
    cache_t *next_idle     # of those whose thread is gone; the next thread adopts one
    rng_t rng
    bin_t bins[BIN_COUNT]

cdef struct heap_t:        # committed = slab_bytes + piece_bytes_free + large live + large free (see audit.pxd)
    account_t account      # first: an account_t * of a heap is its heap_t *
    large_pool_t large
    uint32_t index         # in the table of heaps
    uint32_t route         # where a thread looks for its cache: `index`; HEAPS_MAX, where none is, while locked
    heap_t *next_heap      # all heaps ever made
    char name[32]          # for reports
    bint open, shadowed    # shadowed, during a fork: copied for the child
    cache_t *caches
    cache_t *idle
    pieces_t pieces
    quarantine_t quarantine
    reveal_stock_t revealed
    int on_fork            # on_fork_t
    uint64_t generation    # forks since which its objects are gone; an object of another is inherited
    size_t retain          # bytes of empty chunks to keep
    uint64_t words_freed   # bitmap words that came wholly free since the last tidying

cdef bint cache_refill(cache_t *cache, size_t bin_index, int *error) noexcept nogil  # stock an empty bin
cdef void cache_enter(cache_t *cache, const void *thread) noexcept nogil  # heap's lock held: it is this thread's
cdef void cache_leave(cache_t *cache) noexcept nogil       # heap's lock held: it waits for another thread
cdef void cache_flush(cache_t *cache) noexcept nogil       # own thread, heap's lock held: give all back, pin nothing
cdef void caches_tidy(heap_t *heap, size_t keep) noexcept nogil  # lock held: keep at most `keep` bytes of empty chunks
