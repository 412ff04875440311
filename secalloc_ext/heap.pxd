"""Layer 3: alloc and free of an object in a heap, from any thread, without the GIL."""
from libc.stdint cimport uint32_t
from secalloc_ext.cache cimport cache_t, heap_t

cdef void *heap_alloc(heap_t *heap, size_t size, bint lined) noexcept nogil               # zeroed; NULL: heap_error()
cdef void *heap_alloc_aligned(heap_t *heap, size_t alignment, size_t size) noexcept nogil
cdef void *heap_alloc_guarded(heap_t *heap, size_t size) noexcept nogil
cdef void *heap_alloc_revealed(heap_t *heap, size_t size) noexcept nogil                  # for `revealpages`
cdef bint heap_protect(void *p, int access) noexcept nogil                                # guarded; access_t
cdef void *heap_realloc(heap_t *heap, void *p, size_t size, bint lined) noexcept nogil    # heap: for p == NULL
cdef void heap_free(void *p) noexcept nogil
cdef void heap_zero(void *p) noexcept nogil                                               # its bytes; it lives on
cdef size_t heap_size(const void *p) noexcept nogil                                       # the requested size
cdef bint heap_owns(const void *p) noexcept nogil                                         # in the reservation
cdef heap_t *heap_around(const void *p) noexcept nogil                                   # of any address; or NULL
cdef void heap_trim(heap_t *heap) noexcept nogil

cdef bint heap_lets_in(const heap_t *heap) noexcept nogil                                 # not locked, to this thread
cdef int heap_lock(heap_t *heap, bint close) noexcept nogil                               # or unlock; ERROR_*
cdef int heap_enter(heap_t *heap) noexcept nogil                                          # ERROR_*
cdef bint heap_leave(heap_t *heap, bint pin) noexcept nogil
cdef void heap_unpin(heap_t *heap) noexcept nogil

cdef int heap_error() noexcept nogil                                                      # this thread's last ERROR_*
cdef void heap_error_set(int error) noexcept nogil
cdef int heap_threads_init() noexcept nogil                                               # by `heaps`
cdef cache_t *heap_thread_after_fork(heap_t *heap) noexcept nogil
