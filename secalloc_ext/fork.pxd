"""Layer 3: what becomes of a heap in a forked child. All heaps' locks are held."""
from secalloc_ext.cache cimport cache_t, heap_t

cdef bint fork_shadow(heap_t *heap) noexcept nogil              # before: copy what is live; False: no memory for it
cdef void fork_discard(heap_t *heap) noexcept nogil             # after, in the parent, or when fork_shadow failed
cdef void fork_adopt(heap_t *heap, cache_t *own) noexcept nogil  # after, in the child: the copies take their places
cdef void fork_isolate(heap_t *heap, cache_t *own) noexcept nogil             # after, in the child: the heap is empty
