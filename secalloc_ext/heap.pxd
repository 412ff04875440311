"""Layer 3: alloc and free of an object in a heap, from any thread, without the GIL."""
from libc.stdint cimport uint64_t
from secalloc_ext.cache cimport heap_t

cdef heap_t *heap_create(int backend, unsigned flags, size_t limit) noexcept nogil        # NULL: heap_error()
cdef void heap_close(heap_t *heap) noexcept nogil                                         # objects in it live on
cdef heap_t *heap_default() noexcept nogil                                                # NULL: heap_error()
cdef int heap_configure(size_t reservation, int backend, unsigned flags, size_t limit) noexcept nogil
cdef void *heap_alloc(heap_t *heap, size_t size, bint lined) noexcept nogil               # zeroed; NULL: heap_error()
cdef void *heap_alloc_aligned(heap_t *heap, size_t alignment, size_t size) noexcept nogil
cdef void *heap_realloc(heap_t *heap, void *p, size_t size, bint lined) noexcept nogil    # heap: for p == NULL
cdef void heap_free(void *p) noexcept nogil
cdef size_t heap_size(const void *p) noexcept nogil                                       # the requested size
cdef bint heap_owns(const void *p) noexcept nogil                                         # in the reservation
cdef heap_t *heap_of(const void *p) noexcept nogil
cdef void heap_trim(heap_t *heap) noexcept nogil
cdef int heap_error() noexcept nogil                                                      # this thread's last ERROR_*
cdef void heap_error_clear() noexcept nogil
cdef uint64_t heap_generation() noexcept nogil                                            # forks this process is deep
