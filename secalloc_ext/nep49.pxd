"""Layer 5: NEP 49's data structures, as numpy declares them in its C API since 1.22."""
from libc.stdint cimport uint8_t

cdef struct PyDataMemAllocator:
    void *ctx
    void *(*malloc)(void *ctx, size_t size) noexcept nogil
    void *(*calloc)(void *ctx, size_t n, size_t size) noexcept nogil
    void *(*realloc)(void *ctx, void *p, size_t size) noexcept nogil
    void (*free)(void *ctx, void *p, size_t size) noexcept nogil

cdef struct PyDataMem_Handler:
    char name[127]
    uint8_t version
    PyDataMemAllocator allocator
