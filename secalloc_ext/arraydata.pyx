# cython: language_level=3
"""Layer 5: the data of any NumPy array, by its address: whose it is, and zeros or random bits in its place.

The head of an array object is part of numpy's binary interface: extensions have it compiled in. Whether an object is an
array is the caller's to check.
"""
from cpython.exc cimport PyErr_SetFromErrno
from cpython.object cimport PyObject
from secalloc_ext.cache cimport heap_t
from secalloc_ext.errors import ProtectedError
from secalloc_ext.frame cimport account_is_locked
from secalloc_ext.heap cimport heap_around, heap_lets_in, heap_owns
from secalloc_ext.heapobject cimport Heap
from secalloc_ext.mapping cimport BACKEND_SECRETMEM, mapping_random
from secalloc_ext.prim cimport ERROR_NONE, wipe

cdef extern from *:
    """
    typedef struct { PyObject_HEAD char *data; int nd; Py_ssize_t *dimensions; Py_ssize_t *strides; } array_t;
    """
    ctypedef struct array_t:
        char *data
        int nd
        Py_ssize_t *dimensions
        Py_ssize_t *strides


cdef inline array_t *head_of(array) noexcept:
    return <array_t *><PyObject *>array


def owns(array):
    """Whether the data lies in secalloc's reservation."""
    return heap_owns(head_of(array).data)


def lies_in(array, Heap heap not None):
    """Whether the data lies in that heap."""
    return heap_around(head_of(array).data) == heap.get()


def backend_of(array):
    """What holds the data: "secretmem" or "mlock"; None where secalloc has nothing mapped in this process."""
    return backend_at(<size_t>head_of(array).data)


def backend_at(address):
    """What holds an address: as `backend_of`."""
    cdef heap_t *heap = heap_around(<void *><size_t>address)
    if heap == NULL:
        return None
    return "secretmem" if heap.account.backend == BACKEND_SECRETMEM else "mlock"


cdef void wipe_items(const array_t *array, char *first, int dimension, Py_ssize_t item_bytes) noexcept:
    cdef Py_ssize_t i
    if dimension == array.nd:
        wipe(first, <size_t>item_bytes)
        return
    for i in range(array.dimensions[dimension]):
        wipe_items(array, first + i * array.strides[dimension], dimension + 1, item_bytes)


def wipe_data(array, Py_ssize_t item_bytes, bint contiguous):
    """Zero what the array shows, and no byte between. `contiguous`: in either order.

    In a forked child there is nothing to wipe of the parent's, and nothing happens.

    Raises
    ------
    ProtectedError : the heap is locked to this thread
    """
    cdef array_t *head = head_of(array)
    cdef heap_t *heap = heap_around(head.data)
    cdef Py_ssize_t size = item_bytes
    cdef int i
    if heap == NULL and heap_owns(head.data):
        return
    if heap != NULL and account_is_locked(&heap.account) and not heap_lets_in(heap):
        raise ProtectedError("the heap of the array is locked: use `with heap.unlocked():`")
    if not contiguous:
        wipe_items(head, head.data, 0, item_bytes)
        return
    for i in range(head.nd):
        size *= head.dimensions[i]
    wipe(head.data, <size_t>size)


def fill_random(array, Py_ssize_t size):
    """Random bits in the `size` bytes of contiguous data, from getrandom(2) straight into their place.

    Raises
    ------
    OSError : getrandom is refused
    """
    cdef void *data = head_of(array).data
    cdef int error
    with nogil:
        error = mapping_random(data, <size_t>size)
    if error != ERROR_NONE:
        PyErr_SetFromErrno(OSError)
