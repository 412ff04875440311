"""Layer 3: alloc and free of an object in a heap, from any thread, without the GIL."""
from secalloc_ext.cache cimport heap_t

cdef struct heap_options_t:
    int backend            # backend_t
    unsigned flags         # for memfd_secret
    size_t limit           # most bytes of secret pages; 0: none
    bint flush             # write wiped cache lines back to memory
    int on_fork            # on_fork_t
    size_t retain          # bytes of empty slabs, and of free large objects, to keep mapped

cdef void heap_options_init(heap_options_t *options) noexcept nogil                        # the defaults
cdef heap_t *heap_create(const heap_options_t *options) noexcept nogil                    # NULL: heap_error()
cdef void heap_close(heap_t *heap) noexcept nogil                                         # objects in it live on
cdef heap_t *heap_default() noexcept nogil                                                # NULL: heap_error()
cdef int heap_configure(size_t reservation, const heap_options_t *options) noexcept nogil  # before first use
cdef void *heap_alloc(heap_t *heap, size_t size, bint lined) noexcept nogil               # zeroed; NULL: heap_error()
cdef void *heap_alloc_aligned(heap_t *heap, size_t alignment, size_t size) noexcept nogil
cdef void *heap_alloc_guarded(heap_t *heap, size_t size) noexcept nogil
cdef bint heap_protect(void *p, int access) noexcept nogil                                # guarded; access_t
cdef void *heap_realloc(heap_t *heap, void *p, size_t size, bint lined) noexcept nogil    # heap: for p == NULL
cdef void heap_free(void *p) noexcept nogil
cdef size_t heap_size(const void *p) noexcept nogil                                       # the requested size
cdef bint heap_owns(const void *p) noexcept nogil                                         # in the reservation
cdef heap_t *heap_of(const void *p) noexcept nogil
cdef void heap_wipe(heap_t *heap) noexcept nogil                                          # zero what is live, at once
cdef void heap_wipe_all() noexcept nogil                                                  # in a signal handler, too
cdef void heap_trim(heap_t *heap) noexcept nogil
cdef int heap_error() noexcept nogil                                                      # this thread's last ERROR_*
cdef void heap_error_clear() noexcept nogil
