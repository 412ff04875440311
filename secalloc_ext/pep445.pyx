# cython: language_level=3
"""Layer 5: Python's own objects on secret pages, of the threads that are in a scope (PEP 445).

The hooks stand before Python's three allocators, from the first scope on and to the end of the process: there are
blocks of ours to be freed at any time. Where a new block goes is the calling thread's matter, where a free or a
realloc goes that of the block's address.
"""
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy
from secalloc_ext.cache cimport heap_t
from secalloc_ext.chunk cimport reservation
from secalloc_ext.heap cimport heap_alloc, heap_around, heap_free, heap_realloc
from secalloc_ext.heapobject cimport Heap, raise_error
from secalloc_ext.prim cimport likely, size_multiply, unlikely, wipe
from secalloc_ext.residue cimport residue_wipe_all
from secalloc_ext.stock cimport stock_close, stock_give, stock_open, stock_t, stock_take

from _tracemalloc import is_tracing

from secalloc_ext.errors import TooLateError

cdef extern from "Python.h":
    ctypedef enum PyMemAllocatorDomain:
        PYMEM_DOMAIN_RAW
        PYMEM_DOMAIN_MEM
        PYMEM_DOMAIN_OBJ

    ctypedef struct PyMemAllocatorEx:
        void *ctx
        void *(*malloc)(void *ctx, size_t size) noexcept nogil
        void *(*calloc)(void *ctx, size_t count, size_t size) noexcept nogil
        void *(*realloc)(void *ctx, void *p, size_t size) noexcept nogil
        void (*free)(void *ctx, void *p) noexcept nogil

    void PyMem_GetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx *allocator) nogil
    void PyMem_SetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx *allocator) nogil

cdef extern from *:
    """
    /* Of this module alone: all of the hooks are here. */
    #define OF_THREAD static _Thread_local __attribute__((tls_model("initial-exec")))
    OF_THREAD void *scope_stock;  /* where the thread's new blocks come from, a stock_t; NULL: it is in no scope */
    OF_THREAD void *scope_inner;  /* its innermost Scope */
    """
    void *scope_stock
    void *scope_inner

cdef extern from *:
    """
    #if defined(Py_GIL_DISABLED)
    #define IS_FREE_THREADED 1
    #else
    #define IS_FREE_THREADED 0
    #endif
    """
    bint IS_FREE_THREADED

cdef extern from "freelists.h":
    ctypedef struct spares_t:
        pass
    void spares_take(spares_t *spares)
    void spares_exchange(spares_t *spares)

cdef enum:
    DOMAINS = 3

cdef PyMemAllocatorEx before[DOMAINS]   # what each hook stands before
cdef bint is_installed = False
cdef Heap objects = None                # of all scopes
cdef stock_t *stocks = NULL             # that no thread has at present
cdef uint8_t *base = NULL               # of the reservation, which does not move; both at hand here, for hook_free
cdef size_t reserved = 0


cdef inline bint is_ours(const void *p) noexcept nogil:
    return <size_t>(<const uint8_t *>p - base) < reserved


cdef void *hook_malloc(void *old, size_t size) noexcept nogil:
    cdef PyMemAllocatorEx *next = <PyMemAllocatorEx *>old
    if likely(scope_stock == NULL):
        return next.malloc(next.ctx, size)
    return stock_take(<stock_t *>scope_stock, size if size else 1)


cdef void *hook_calloc(void *old, size_t count, size_t size) noexcept nogil:
    cdef size_t total = 0
    cdef PyMemAllocatorEx *next = <PyMemAllocatorEx *>old
    if likely(scope_stock == NULL):
        return next.calloc(next.ctx, count, size)
    if size_multiply(count, size, &total):
        return NULL
    return stock_take(<stock_t *>scope_stock, total if total else 1)


cdef void *move_in(PyMemAllocatorEx *next, void *p, size_t size) noexcept nogil:
    """In a scope, an ordinary block becomes a secret one. How big it was, only the old allocator knows: it lets it
    grow."""
    cdef void *result = stock_take(<stock_t *>scope_stock, size if size else 1)
    cdef void *grown
    if result == NULL:
        return NULL
    grown = next.realloc(next.ctx, p, size)
    if grown == NULL:
        heap_free(result)
        return NULL
    memcpy(result, grown, size)
    wipe(grown, size)
    next.free(next.ctx, grown)
    return result


cdef void *hook_realloc(void *old, void *p, size_t size) noexcept nogil:
    cdef PyMemAllocatorEx *next = <PyMemAllocatorEx *>old
    if p == NULL:
        return hook_malloc(old, size)
    if is_ours(p):
        return heap_realloc(heap_around(p), p, size if size else 1, False)
    if likely(scope_stock == NULL):
        return next.realloc(next.ctx, p, size)
    return move_in(next, p, size)


cdef void hook_free(void *old, void *p) noexcept nogil:
    cdef PyMemAllocatorEx *next = <PyMemAllocatorEx *>old
    if unlikely(is_ours(p)):
        if likely(scope_stock != NULL):
            stock_give(<stock_t *>scope_stock, p)
        else:
            heap_free(p)
    else:
        next.free(next.ctx, p)


cdef bint is_on_top() noexcept:
    """Whether a new block comes to our hooks first."""
    cdef PyMemAllocatorEx now
    PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &now)
    return now.malloc == hook_malloc


def install():
    """Put the hooks before Python's allocators, once and for good; makes the heap of all scopes.

    Raises
    ------
    NotImplementedError : the interpreter is free-threaded
    TooLateError : `tracemalloc` traces already: what it puts back when it stops knows nothing of the hooks
    SecretMemoryUnavailable, MemlockLimitError : there is no secret memory
    """
    global is_installed, objects, base, reserved
    cdef PyMemAllocatorEx hook
    cdef PyMemAllocatorDomain domain
    cdef heap_t *target
    cdef void *first
    if is_installed:
        return
    if IS_FREE_THREADED:
        raise NotImplementedError(
            "a free-threaded interpreter has its objects in its own allocator's pages, which find them by address: "
            "no other can be put in its place")
    if is_tracing():
        raise TooLateError(
            "tracemalloc was started before the first scope: when it stopped, blocks of secret memory would be freed "
            "as ordinary ones. Enter a scope before, or call secalloc.scope.install()")
    if objects is None:
        made = Heap("scope", on_fork="copy")
        target = (<Heap>made).get()
        first = heap_alloc(target, 1, False)  # whether there is secret memory, a scope could not say
        if first == NULL:
            raise_error(target, 1)
        heap_free(first)
        base, reserved = reservation.base, reservation.bytes
        objects = made
    for domain in (PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ):
        PyMem_GetAllocator(domain, &before[<int>domain])
        hook.ctx = &before[<int>domain]
        hook.malloc = hook_malloc
        hook.calloc = hook_calloc
        hook.realloc = hook_realloc
        hook.free = hook_free
        PyMem_SetAllocator(domain, &hook)
    is_installed = True


cdef stock_t *stock_for_thread() except NULL:
    """An empty one; the GIL is held."""
    global stocks
    cdef stock_t *stock = stocks
    if stock != NULL:
        stocks = stock.next
        return stock
    stock = <stock_t *>calloc(1, sizeof(stock_t))
    if stock == NULL:
        raise MemoryError()
    stock_open(stock, objects.heap)
    return stock


def heap():
    """The heap of all scopes, or None before the first."""
    return objects


def is_active():
    """Whether the calling thread is in a scope."""
    return scope_stock != NULL


cdef class Scope:
    """What the calling thread's objects are made of, from `__enter__` to `__exit__`, are secret pages."""
    cdef readonly bint stack
    cdef public object arrays    # what is to be left with the scope, or None
    cdef bint is_entered
    cdef PyObject *outer
    cdef stock_t *stock
    cdef spares_t spares

    def __init__(self, stack=True):
        if self.is_entered:
            raise RuntimeError("this scope is entered")
        self.stack = stack

    def __enter__(self):
        global scope_stock, scope_inner
        if self.is_entered:
            raise RuntimeError("this scope is entered already: each block needs its own")
        install()
        if not is_on_top() and not is_tracing():
            raise RuntimeError("another allocator was put before secalloc's: a scope would cover nothing")
        self.outer = <PyObject *>scope_inner
        if self.outer == NULL:
            self.stock = stock_for_thread()
            spares_take(&self.spares)
        self.is_entered = True
        Py_INCREF(self)
        scope_inner = <void *><PyObject *>self
        if self.outer == NULL:
            scope_stock = self.stock

    def __exit__(self, kind, value, traceback):
        """In as few frames as can be: what lies between their variables nobody can wipe."""
        global scope_stock, scope_inner, stocks
        if scope_inner != <void *><PyObject *>self:
            raise RuntimeError("a scope is left in another order or thread than it was entered in: nothing changes")
        if self.arrays is not None:
            self.arrays.__exit__(kind, value, traceback)
            self.arrays = None
        scope_inner = <void *>self.outer
        self.is_entered = False
        if self.outer == NULL:
            scope_stock = NULL
            spares_exchange(&self.spares)
            stock_close(self.stock)
            self.stock.next = stocks
            stocks = self.stock
            if self.stack:
                residue_wipe_all()
        Py_DECREF(self)

    def __reduce__(self):
        raise TypeError("a scope cannot be pickled")
