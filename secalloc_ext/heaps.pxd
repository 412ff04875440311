"""Layer 3: the heaps of the process."""
from libc.stdint cimport uint32_t
from secalloc_ext.cache cimport heap_t

cdef struct heap_options_t:
    int backend                # backend_t
    unsigned flags             # for memfd_secret
    size_t limit               # most bytes of secret pages; 0: none
    bint flush                 # write wiped cache lines back to memory
    int on_fork                # on_fork_t
    size_t retain              # bytes of empty slabs, and of free large objects, to keep mapped
    bint ahead                 # a thread may touch pages ahead of need
    uint32_t quarantine        # slots of each class that wait, at random, before they can be allocated again; 0: none
    uint32_t quarantine_large  # the same for large objects up to QUARANTINE_LARGE_BYTES_MAX
    uint32_t warm_large        # freed large objects up to WARM_LARGE_BYTES_MAX that stay accessible, to be used next
    bint verify_whole          # look for writes after free in all of a slot, not in a sample
    uint32_t gap_frames        # at most so many unused frames before a new range of them
    char name[32]              # for reports

cdef void heap_options_init(heap_options_t *options, bint full) noexcept nogil             # the defaults
cdef heap_t *heap_create(const heap_options_t *options) noexcept nogil                     # NULL: heap_error()
cdef void heap_close(heap_t *heap) noexcept nogil                                          # objects in it live on
cdef heap_t *heap_default() noexcept nogil                                                 # NULL: heap_error()
cdef int heap_configure(size_t reservation, const heap_options_t *options) noexcept nogil  # before first use
cdef void heap_wipe_all() noexcept nogil                                                   # in a signal handler, too
