"""Layer 4: the Python face of a heap, and the way from an ERROR_* to an exception."""
from secalloc_ext.cache cimport heap_t
from secalloc_ext.heap cimport heap_alloc, heap_alloc_guarded, heap_unpin
from secalloc_ext.prim cimport likely, unlikely

cdef class Heap:
    cdef heap_t *heap              # NULL in the default heap's object until first use
    cdef readonly str name
    cdef Py_ssize_t views          # buffer views of its objects that are out, and revealed objects
    cdef object __weakref__
    cdef heap_t *get(self) except NULL
    cdef int check_lock(self, int error) except -1

cdef Heap default_heap()
cdef int raise_error(heap_t *heap, Py_ssize_t size) except -1     # the thread's last error; heap may be NULL


cdef inline void *allocate(Heap heap, Py_ssize_t size, bint guarded) except NULL:
    """Zeroed, or raises."""
    cdef heap_t *target = heap.heap if likely(heap.heap != NULL) else heap.get()
    cdef void *p = heap_alloc_guarded(target, <size_t>size) if guarded else heap_alloc(target, <size_t>size, False)
    if unlikely(p == NULL):
        raise_error(target, size)
    return p


cdef inline void view_begin(Heap heap) noexcept:
    """Something is out by which C code may touch an object: until view_end nobody closes its pages, see Heap.lock."""
    heap.views += 1


cdef inline void view_end(Heap heap) noexcept:
    heap.views -= 1
    if heap.views == 0 and heap.heap.account.pinned:
        heap_unpin(heap.heap)
