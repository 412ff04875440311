# cython: language_level=3, auto_pickle=False
"""Layer 4: timed loops over an allocator's C functions, so that no Python call is inside what is timed.

For `secalloc bench` and benchmarks/. A peer is known by the addresses of its functions; see loops.h for the loops.
"""
cimport cython
from libc.stdint cimport UINT32_MAX, uint32_t
from libc.stdlib cimport calloc, free
from secalloc_ext.heap cimport heap_alloc, heap_free
from secalloc_ext.heapobject cimport Heap

COMPILER = (<bytes>compiler).decode()   # of this extension
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

    def make(self, size_t size):
        """One object; 0 when there is no memory for it."""
        return <size_t>peer_make(&self.functions, self.functions.way, size)

    def drop(self, size_t pointer, size_t size):
        """Free what `make` answered."""
        peer_release(&self.functions, self.functions.way, <void *>pointer, size)

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


@cython.final
cdef class Trace:
    """Objects of mixed sizes that come and go in `places` places, by the same dice in every process.

    Sizes are between `smallest` and `largest`, evenly on a logarithmic scale.
    """
    cdef trace state
    cdef uint32_t *sizes
    cdef readonly Peer peer

    def __cinit__(self, Peer peer not None, uint32_t places, double smallest, double largest):
        cdef uint32_t i
        self.peer = peer
        self.state.random = 1
        self.state.count = places
        self.state.sizes_count = 1024
        self.state.places = <void **>calloc(places, sizeof(void *))
        self.state.bytes = <uint32_t *>calloc(places, sizeof(uint32_t))
        self.state.sizes = self.sizes = <uint32_t *>calloc(self.state.sizes_count, sizeof(uint32_t))
        if self.state.places == NULL or self.state.bytes == NULL or self.sizes == NULL:
            raise MemoryError()
        for i in range(self.state.sizes_count):
            self.sizes[i] = round(smallest * (largest / smallest) ** (i / 1023))

    def __dealloc__(self):
        if self.state.places != NULL and self.state.bytes != NULL:
            loop_trace_clear(&self.peer.functions, &self.state)
        free(self.state.places)
        free(self.state.bytes)
        free(self.sizes)

    @property
    def live(self):
        return self.state.live

    @property
    def live_bytes(self):
        return self.state.live_bytes

    def run(self, long steps, double share):
        """So many steps, towards `share` of the places live."""
        cdef double ns
        with nogil:
            ns = loop_trace(&self.peer.functions, steps, <uint32_t>(share * UINT32_MAX), &self.state)
        return checked(ns)


def bare_functions():
    """Addresses for a `Peer` of the way "at": one memfd_secret for each object, no allocator."""
    return <size_t>bare_alloc, <size_t>bare_release


def wipe(unsigned char[::1] data not None, long rounds):
    """Zero the data so many times as the core does; answers nanoseconds."""
    return loop_wipe(&data[0], data.shape[0], rounds)


def memset(unsigned char[::1] data not None, long rounds):
    """The same by memset(3)."""
    return loop_memset(&data[0], data.shape[0], rounds)


def call(make not None, argument, long rounds):
    """Make ``make(argument)`` and drop it, so many times."""
    call_loop(make, argument, rounds)


cdef object checked(double ns):
    if ns < 0:
        raise MemoryError("the allocator under measurement has no memory left")
    return ns
