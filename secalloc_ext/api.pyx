# cython: language_level=3
"""Layer 3: the public C API over the default heap. Only signatures and errno are adapted here."""
from libc.errno cimport EAGAIN, EINVAL, ENOMEM
from secalloc_ext.heap cimport (
    heap_alloc, heap_alloc_aligned, heap_alloc_guarded, heap_error, heap_free, heap_owns, heap_protect, heap_realloc,
    heap_size)
from secalloc_ext.heaps cimport heap_default
from secalloc_ext.prim cimport ERROR_MEMLOCK, errno_set, size_multiply, unlikely


cdef void *checked(void *p) noexcept nogil:
    """Pass an allocation through; set errno when it failed."""
    if unlikely(p == NULL):
        errno_set(EAGAIN if heap_error() == ERROR_MEMLOCK else ENOMEM)
    return p


cdef void *secalloc_malloc(size_t size) noexcept nogil:
    return checked(heap_alloc(heap_default(), size, False))


cdef void *secalloc_calloc(size_t n, size_t size) noexcept nogil:
    cdef size_t total = 0
    if unlikely(size_multiply(n, size, &total)):
        errno_set(ENOMEM)
        return NULL
    return secalloc_malloc(total)


cdef void *secalloc_realloc(void *p, size_t size) noexcept nogil:
    return checked(heap_realloc(heap_default(), p, size, False))


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
    return checked(heap_alloc_aligned(heap_default(), alignment, size))


cdef void *secalloc_guarded_alloc(size_t size) noexcept nogil:
    return checked(heap_alloc_guarded(heap_default(), size))


cdef int secalloc_protect(void *p, int access) noexcept nogil:
    if access < SECALLOC_NOACCESS or access > SECALLOC_READWRITE:
        errno_set(EINVAL)
        return -1
    if not heap_protect(p, access):
        errno_set(ENOMEM)
        return -1
    return 0
