# cython: language_level=3
"""Layer 5: random bits for numpy's Generator (as numpy/random/bitgen.h has them), on secret pages until they are used.

A pool of words is filled by getrandom(2) where it lies; a word is zeroed when it is handed out. There is no state from
which past or coming numbers follow.

Thread safety: as numpy's own, calls of one Generator exclude each other by `lock`. In a forked child, of either policy,
the pool is another one: what the parent has drawn ahead is not used twice. Where there is no pool to be had, or its
heap is locked, each word is drawn by itself.
"""
import os
from threading import Lock

cimport cython
from cpython.exc cimport PyErr_SetFromErrno
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint32_t, uint64_t
from secalloc_ext.cache cimport heap_t
from secalloc_ext.frame cimport account_is_locked
from secalloc_ext.heap cimport heap_alloc, heap_free, heap_lets_in
from secalloc_ext.heapobject cimport Heap, raise_error
from secalloc_ext.mapping cimport mapping_random
from secalloc_ext.prim cimport ERROR_NONE, fatal_error, likely
from secalloc_ext.securebytes cimport heap_or_default

cdef enum:
    POOL_WORDS = 256

cdef const double UNIT = 1.0 / 9007199254740992.0   # 2 ** -53, as numpy's own generators have it

cdef struct bitgen_t:
    void *state
    uint64_t (*next_uint64)(void *state) noexcept nogil
    uint32_t (*next_uint32)(void *state) noexcept nogil
    double (*next_double)(void *state) noexcept nogil
    uint64_t (*next_raw)(void *state) noexcept nogil

cdef struct source_t:
    heap_t *heap
    uint64_t *pool   # NULL: no memory for one in this child
    uint64_t forks   # that came before it was filled
    size_t left      # words of the pool that nobody has had

cdef uint64_t forks = 0


def count_fork():
    global forks
    forks += 1


os.register_at_fork(after_in_child=count_fork)


cdef bint pool_fill(source_t *source) noexcept nogil:
    if source.forks != forks:  # the parent's, and not ours; or a copy of it
        heap_free(source.pool)
        source.pool = NULL
        source.left = 0
        source.forks = forks
    if source.pool == NULL:
        source.pool = <uint64_t *>heap_alloc(source.heap, POOL_WORDS * sizeof(uint64_t), False)
    if source.pool == NULL or mapping_random(source.pool, POOL_WORDS * sizeof(uint64_t)) != ERROR_NONE:
        return False
    source.left = POOL_WORDS
    return True


cdef inline bint pool_is_open(const source_t *source) noexcept nogil:
    return likely(not account_is_locked(&source.heap.account)) or heap_lets_in(source.heap)


cdef uint64_t next_word(void *state) noexcept nogil:
    """A word that is zero was wiped, by `Heap.wipe`: it is not random, and is not handed out."""
    cdef source_t *source = <source_t *>state
    cdef uint64_t word = 0
    while word == 0:
        if pool_is_open(source) and (source.left > 0 and likely(source.forks == forks) or pool_fill(source)):
            source.left -= 1
            word = source.pool[source.left]
            source.pool[source.left] = 0
        elif mapping_random(&word, sizeof(word)) != ERROR_NONE:
            fatal_error("no random bytes")
    return word


cdef uint32_t next_half(void *state) noexcept nogil:
    return <uint32_t>(next_word(state) >> 32)


cdef double next_double(void *state) noexcept nogil:
    return <double>(next_word(state) >> 11) * UNIT


@cython.final
cdef class BitSource:
    """What ``numpy.random.Generator`` takes for a bit generator."""
    cdef source_t source
    cdef bitgen_t functions
    cdef Heap heap
    cdef readonly object capsule
    cdef readonly object lock

    def __cinit__(self, heap=None):
        self.heap = heap_or_default(heap)
        self.source.heap = self.heap.get()
        self.source.forks = forks
        if not pool_fill(&self.source):
            if self.source.pool == NULL:
                raise_error(self.source.heap, POOL_WORDS * sizeof(uint64_t))
            PyErr_SetFromErrno(OSError)
        self.functions = bitgen_t(&self.source, next_word, next_half, next_double, next_word)
        self.capsule = PyCapsule_New(&self.functions, b"BitGenerator", NULL)
        self.lock = Lock()

    def __dealloc__(self):
        heap_free(self.source.pool)

    def __reduce__(self):
        raise TypeError("a source of random bits has no state that could be pickled")
