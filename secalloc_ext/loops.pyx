# cython: language_level=3, auto_pickle=False
"""Layer 4: timed loops over an allocator's C functions, so that no Python call is inside what is timed.

For `secalloc bench` and benchmarks/. A peer is known by the addresses of its functions; see loops.h for the loops.
"""
cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from secalloc_ext.heap cimport heap_alloc, heap_free
from secalloc_ext.heapobject cimport Heap

WAYS = {"plain": WAY_PLAIN, "wiping": WAY_WIPING, "at": WAY_AT}


@cython.final
cdef class Peer:
    """An allocator under measurement. All methods run without the GIL, and answer nanoseconds.

    Parameters
    ----------
    alloc, release : addresses of C functions
    way : "plain": ``alloc(size)``, ``release(p)``; "wiping": the same, with explicit_bzero(3) before the release;
        "at": OpenSSL's ``alloc(size, file, line)``, ``release(p, size, file, line)``
    heap : a secalloc `Heap`, instead of the others

    Raises
    ------
    MemoryError : by a loop, when the allocator has no memory left; nothing of the loop's stays allocated
    """
    cdef peer functions
    cdef Heap heap

    def __cinit__(self, size_t alloc=0, size_t release=0, str way="plain", Heap heap=None):
        self.heap = heap
        if heap is None:
            self.functions.way = WAYS[way]
            self.functions.alloc = <void *>alloc
            self.functions.release = <void *>release
        else:
            self.functions.way = WAY_HEAP
            self.functions.alloc = <void *>heap_alloc
            self.functions.release = <void *>heap_free
            self.functions.heap = heap.get()

    def pair(self, size_t size, long rounds):
        """Make and drop one object of `size` bytes after the other."""
        cdef double ns
        with nogil:
            ns = loop_pair(&self.functions, size, rounds)
        return checked(ns)

    def hand_over(self, size_t size, long rounds):
        """Make objects in one thread and free them in another."""
        cdef double ns
        with nogil:
            ns = loop_hand_over(&self.functions, size, rounds)
        return checked(ns)


@cython.final
cdef class Stand:
    """Places for `live` objects of `size` bytes of one peer, and a scattered order in which they are visited."""
    cdef stand places
    cdef uint32_t *order
    cdef size_t size
    cdef readonly Peer peer

    def __cinit__(self, Peer peer not None, size_t size, uint32_t live, seed=1):
        cdef uint32_t i
        import random
        self.peer = peer
        self.size = size
        self.places.live = live
        self.places.places = <void **>calloc(live, sizeof(void *))
        self.places.order = self.order = <uint32_t *>calloc(live, sizeof(uint32_t))
        if self.places.places == NULL or self.order == NULL:
            raise MemoryError()
        for i, place in enumerate(random.Random(seed).sample(range(live), live)):
            self.order[i] = place

    def __dealloc__(self):
        if self.places.places != NULL and self.order != NULL:
            loop_clear(&self.peer.functions, self.size, &self.places)
        free(self.places.places)
        free(self.order)

    def batch(self, long rounds):
        """Make all in sequence and free all in scattered order."""
        cdef double ns
        with nogil:
            ns = loop_batch(&self.peer.functions, self.size, rounds, &self.places)
        return checked(ns)

    def churn(self, long rounds):
        """Replace each, in scattered order; the first round fills the empty places."""
        cdef double ns
        with nogil:
            ns = loop_churn(&self.peer.functions, self.size, rounds, &self.places)
        return checked(ns)


cdef object checked(double ns):
    if ns < 0:
        raise MemoryError("the allocator under measurement has no memory left")
    return ns
