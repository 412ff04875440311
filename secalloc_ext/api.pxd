"""Layer 3: the public C API, malloc's contracts on the default heap of secret memory.

For Cython: ``from secalloc_ext.api cimport secalloc_malloc``. For C: the same functions by capsule, from
``secalloc_ext.api.__pyx_capi__``. All may be called from any thread, with or without the GIL. Memory is zeroed.
Failure is NULL, with errno ENOMEM, EAGAIN (RLIMIT_MEMLOCK) or EINVAL (alignment). Misuse ends the process.
"""

cdef void *secalloc_malloc(size_t size) noexcept nogil                      # 16-byte aligned; unique for size 0
cdef void *secalloc_calloc(size_t n, size_t size) noexcept nogil
cdef void *secalloc_realloc(void *p, size_t size) noexcept nogil            # wipes the block it leaves
cdef void secalloc_free(void *p) noexcept nogil                             # wipes; NULL is allowed
cdef size_t secalloc_usable_size(void *p) noexcept nogil                    # the requested size: beyond is canary
cdef bint secalloc_owns(void *p) noexcept nogil                             # does the address lie in secret memory?
cdef void *secalloc_aligned_alloc(size_t alignment, size_t size) noexcept nogil

cdef enum:
    SECALLOC_NOACCESS = 0
    SECALLOC_READONLY = 1
    SECALLOC_READWRITE = 2

cdef void *secalloc_guarded_alloc(size_t size) noexcept nogil               # ends at a guard page; no alignment
cdef int secalloc_protect(void *p, int access) noexcept nogil               # of a guarded one; 0, or -1 with errno
