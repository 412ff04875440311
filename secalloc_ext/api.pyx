# cython: language_level=3
"""Layer 3: the public C API over the default heap. Only signatures and errno are adapted here."""
from libc.errno cimport EINVAL, ENOMEM
from secalloc_ext.cache cimport heap_t
from secalloc_ext.heap cimport (
    heap_alloc, heap_alloc_aligned, heap_alloc_guarded, heap_free, heap_owns, heap_protect, heap_realloc, heap_size)
from secalloc_ext.heaps cimport heap_default
from secalloc_ext.prim cimport errno_set, size_multiply, unlikely

cdef heap_t *home = NULL   # the default heap; NULL until the first call, and where it cannot come into being


cdef inline heap_t *home_open() noexcept nogil:
    """NULL with errno set where it cannot come into being."""
    global home
    if unlikely(home == NULL):
        home = heap_default()
    return home


cdef void *secalloc_malloc(size_t size) noexcept nogil:
    cdef heap_t *heap = home_open()
    return heap_alloc(heap, size, False) if heap != NULL else NULL


cdef void *secalloc_calloc(size_t n, size_t size) noexcept nogil:
    cdef size_t total = 0
    if unlikely(size_multiply(n, size, &total)):
        errno_set(ENOMEM)
        return NULL
    return secalloc_malloc(total)


cdef void *secalloc_realloc(void *p, size_t size) noexcept nogil:
    cdef heap_t *heap = home_open()
    return heap_realloc(heap, p, size, False) if heap != NULL else NULL


cdef void secalloc_free(void *p) noexcept nogil:
    heap_free(p)


cdef size_t secalloc_usable_size(void *p) noexcept nogil:
    return heap_size(p)


cdef bint secalloc_owns(void *p) noexcept nogil:
    return heap_owns(p)


cdef void *secalloc_aligned_alloc(size_t alignment, size_t size) noexcept nogil:
    if unlikely(alignment == 0 or alignment & (alignment - 1)):
        errno_set(EINVAL)
        return NULL
    cdef heap_t *heap = home_open()
    return heap_alloc_aligned(heap, alignment, size) if heap != NULL else NULL


cdef void *secalloc_guarded_alloc(size_t size) noexcept nogil:
    cdef heap_t *heap = home_open()
    return heap_alloc_guarded(heap, size) if heap != NULL else NULL


cdef int secalloc_protect(void *p, int access) noexcept nogil:
    if access < SECALLOC_NOACCESS or access > SECALLOC_READWRITE:
        errno_set(EINVAL)
        return -1
    if not heap_protect(p, access):
        errno_set(ENOMEM)
        return -1
    return 0
