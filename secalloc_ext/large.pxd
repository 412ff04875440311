"""Layer 3: large objects, whole pages between guard pages, and the stock of wiped ones."""
from libc.stdint cimport uint8_t, uint32_t
from secalloc_ext.frame cimport account_t, frame_t
from secalloc_ext.rng cimport rng_t

cdef enum:
    LARGE_BINS = 200
    QUARANTINE_LARGE_MAX = 32
    QUARANTINE_LARGE_BYTES_MAX = 256 * 1024   # what is bigger does not go through it
    WARM_LARGE_MAX = 8
    WARM_LARGE_BYTES_MAX = 68 * 1024          # of 64 KiB and its slack; array data may have more

cdef struct large_pool_t:        # one a heap, guarded by its account's lock
    frame_t *free[LARGE_BINS]    # wiped, inaccessible, by length; newest first
    frame_t *warm[WARM_LARGE_MAX]  # wiped, accessible, to be used next; NULL: an empty place
    uint32_t warm_places         # used of them
    size_t live
    size_t live_bytes            # requested sizes
    size_t live_committed        # their mapped bytes
    size_t free_count            # in `free`, `warm` and `quarantine`
    size_t free_committed        # their mapped bytes; at most `retain`
    size_t retain
    frame_t *quarantine[QUARANTINE_LARGE_MAX]   # freed and closed, not yet in `free`; NULL: an empty place
    uint32_t quarantine_places   # used of them
    rng_t rng                    # for its places

cdef int large_init(large_pool_t *pool, size_t retain, uint32_t places, uint32_t warm) noexcept nogil  # ERROR_*
cdef frame_t *large_alloc(large_pool_t *pool, account_t *account, rng_t *rng, size_t size, size_t alignment,
                          int shape, int *error) noexcept nogil            # takes and drops the account's lock
cdef uint8_t *large_object(const frame_t *object) noexcept nogil           # where the user's bytes begin
cdef bint large_protect(frame_t *object, const void *p, int access) noexcept nogil  # access_t; False: no map entry left
cdef void large_free(large_pool_t *pool, frame_t *object, const void *p) noexcept nogil
cdef void large_retire(large_pool_t *pool, frame_t *object) noexcept nogil  # lock held: a wiped one into stock
cdef size_t large_size(const frame_t *object, const void *p) noexcept nogil  # requested size, canary checked
cdef bint large_resize(large_pool_t *pool, frame_t *object, size_t size) noexcept nogil  # in place, or False
cdef void large_zero(frame_t *object) noexcept nogil                 # no lock: zero it, whatever its protection
cdef void large_wipe(frame_t *object) noexcept nogil                 # the same for one that can be written
cdef bint large_is_valid(frame_t *object) noexcept nogil             # lock held: sizes and canary of a live one
cdef void large_cool(large_pool_t *pool) noexcept nogil                    # lock held: close what is warm
cdef void large_drop(large_pool_t *pool, size_t keep) noexcept nogil       # lock held: release all but `keep` bytes
