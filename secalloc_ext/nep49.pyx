# cython: language_level=3
"""Layer 5: a NumPy data allocator for each heap (NEP 49, https://numpy.org/neps/nep-0049.html).

numpy is reached through the capsule of its C API at run time: no header of it is needed to build, and nothing of it is
imported before the first call. A handler is a capsule that every array made under it keeps; the capsule keeps the Heap,
so that arrays outlive both the context and the handle.
"""
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport calloc, free
from libc.string cimport strcpy
from secalloc_ext.cache cimport heap_t
from secalloc_ext.heap cimport heap_alloc, heap_error, heap_error_set, heap_free, heap_realloc
from secalloc_ext.heapobject cimport Heap, raise_error
from secalloc_ext.prim cimport ERROR_NONE, size_multiply
from secalloc_ext.securebytes cimport heap_or_default

from secalloc_ext import scrub as scrubbing

cdef enum:
    SLOT_SET_HANDLER = 304      # of numpy's _ARRAY_API table: PyDataMem_SetHandler
    SLOT_GET_HANDLER = 305      # PyDataMem_GetHandler

ctypedef PyObject *(*set_handler_t)(PyObject *handler)
ctypedef PyObject *(*get_handler_t)()

cdef void **numpy_api = NULL
cdef const char *CAPSULE_NAME = "mem_handler"


cdef void *array_malloc(void *heap, size_t size) noexcept nogil:
    return heap_alloc(<heap_t *>heap, size, True)


cdef void *array_calloc(void *heap, size_t n, size_t size) noexcept nogil:
    cdef size_t total = 0
    return NULL if size_multiply(n, size, &total) else heap_alloc(<heap_t *>heap, total, True)


cdef void *array_realloc(void *heap, void *p, size_t size) noexcept nogil:
    return heap_realloc(<heap_t *>heap, p, size, True)


cdef void array_free(void *heap, void *p, size_t size) noexcept nogil:
    heap_free(p)


cdef void handler_free(object capsule) noexcept:
    cdef PyDataMem_Handler *handler = <PyDataMem_Handler *>PyCapsule_GetPointer(capsule, CAPSULE_NAME)
    cdef PyObject **keeper = <PyObject **>(handler + 1)
    Py_DECREF(<object>keeper[0])
    free(handler)


def handler_for(Heap heap not None):
    """A handler capsule whose arrays live in `heap`, for `handler_set`.

    Raises
    ------
    MemoryError : no ordinary memory for the capsule's structure
    SecretMemoryUnavailable, MemlockLimitError : the heap cannot come into being
    """
    cdef heap_t *target = heap.get()
    cdef PyDataMem_Handler *handler = <PyDataMem_Handler *>calloc(1, sizeof(PyDataMem_Handler) + sizeof(PyObject *))
    if handler == NULL:
        raise MemoryError()
    strcpy(handler.name, b"secalloc")
    handler.version = 1
    handler.allocator.ctx = target
    handler.allocator.malloc = array_malloc
    handler.allocator.calloc = array_calloc
    handler.allocator.realloc = array_realloc
    handler.allocator.free = array_free
    (<PyObject **>(handler + 1))[0] = <PyObject *>heap
    Py_INCREF(heap)
    return PyCapsule_New(handler, CAPSULE_NAME, handler_free)


cdef void **table() except NULL:
    """numpy's C API table, from the capsule that its own import_array() reads."""
    global numpy_api
    if numpy_api == NULL:
        try:
            from numpy._core._multiarray_umath import _ARRAY_API
        except ImportError:  # numpy 1.x
            from numpy.core._multiarray_umath import _ARRAY_API
        numpy_api = <void **>PyCapsule_GetPointer(_ARRAY_API, NULL)
    return numpy_api


def handler_set(capsule not None):
    """Make `capsule` the data allocator of this context; answers the one that was. (PyDataMem_SetHandler)

    Forgets the thread's last error as well, so that `raise_for` speaks of what comes after.
    """
    heap_error_set(ERROR_NONE)
    cdef PyObject *old = (<set_handler_t>table()[SLOT_SET_HANDLER])(<PyObject *>capsule)
    result = <object>old
    Py_DECREF(result)  # numpy gave us a reference, and `result` holds one more
    return result


def handler_get():
    """The capsule of this context's data allocator. (PyDataMem_GetHandler)"""
    cdef PyObject *current = (<get_handler_t>table()[SLOT_GET_HANDLER])()
    result = <object>current
    Py_DECREF(result)
    return result


def raise_for(Heap heap not None, size):
    """After numpy's MemoryError: raise the heap's own, which knows the reason."""
    if heap_error() != ERROR_NONE:
        raise_error(heap.get(), min(size, <Py_ssize_t>((<size_t>-1) >> 1)))


cdef class SecureArrays:
    """Data memory of new arrays in one heap, from `__enter__` to `__exit__`, in the context that entered.

    Each object has a handler of its own, so that an `__exit__` can tell whether it is the innermost one.
    """
    cdef readonly Heap heap
    cdef readonly bint scrub
    cdef readonly object scrubs
    cdef object handler
    cdef object previous   # what was there before it was entered; None: it is not

    def __init__(self, heap=None, *, scrub=False):
        if self.previous is not None:
            raise RuntimeError("these secure_arrays are entered")
        self.heap = heap_or_default(heap)
        self.scrub = scrub
        self.scrubs = frozenset()
        self.handler = handler_for(self.heap)

    def __enter__(self):
        if self.previous is not None:
            raise RuntimeError("these secure_arrays are entered already: each block needs its own")
        if self.handler is None:
            raise RuntimeError("secure_arrays without __init__")
        if self.scrub:
            self.scrubs = scrubbing.begin()
        self.previous = handler_set(self.handler)

    def __exit__(self, *exception):
        if self.previous is None:
            raise RuntimeError("these secure_arrays were not entered")
        if handler_get() is not self.handler:
            raise RuntimeError(
                "secure_arrays are left in another order, thread or task than they were entered in: nothing changes")
        handler_set(self.previous)
        self.previous = None
        if self.scrub:
            scrubbing.end()

    def __reduce__(self):
        raise TypeError("secure_arrays cannot be pickled")
