# cython: language_level=3
"""Layer 5: what C libraries leave behind during a block, wiped: in memory that they free, on the stack, in BLAS's
buffers.

glibc's allocator can overwrite what is freed (mallopt(3), M_PERTURB); what it leaves out `freed.h` wipes at the end.
"""
from libc.stdlib cimport free
from secalloc_ext.openblas cimport openblas_begin, openblas_end, openblas_wipe
from secalloc_ext.residue cimport residue_wipe_all

import os

from secalloc_ext import openblas

cdef extern from *:
    """
    #include <malloc.h>
    #include <stdlib.h>
    #include <string.h>
    #ifndef M_PERTURB
    #define M_PERTURB 0    /* another libc: mallopt does nothing with it, and `perturbs` tells */
    #endif
    /* As it comes; not calloc, which GCC makes of malloc and zeros. */
    static char *block_take(size_t size)
    {
        char *p = (char *)malloc(size);
        __asm__ volatile("" : "+r"(p));
        return p;
    }
    /* Not dropped, as what is written to memory that is freed next may be. */
    static void block_fill(void *p, size_t size)
    {
        memset(p, 0x55, size);
        __asm__ volatile("" : : "r"(p) : "memory");
    }
    """
    enum: M_PERTURB
    int mallopt(int parameter, int value) nogil
    char *block_take(size_t size) noexcept nogil
    void block_fill(void *p, size_t size) noexcept nogil

cdef extern from "freed.h" nogil:
    void freed_wipe() noexcept

cdef enum:
    FREED = 0xff            # what freed memory is overwritten with; fresh memory with its complement, 0
    PROBE_BYTES = 5000

cdef int depth = 0              # blocks open in this process. The GIL is held
cdef bint mine = False          # whether it was this module that set M_PERTURB
cdef object kinds = frozenset()


cdef bint perturbs() noexcept:
    """Whether the allocator does as it was told: fresh memory is then filled, and here it is not zero without that."""
    cdef char *fresh
    cdef bint result = True
    cdef int j
    for _ in range(2):
        fresh = block_take(PROBE_BYTES)
        if fresh == NULL:
            return False
        for j in range(PROBE_BYTES):
            result = result and fresh[j] == 0
        block_fill(fresh, PROBE_BYTES)
        free(fresh)     # where it is not overwritten, the next one finds it
    return result


def begin():
    """Open a block. Answers what is wiped at its end: some of "malloc", "stack" and "blas"."""
    global depth, mine, kinds
    if depth == 0:
        found = {"stack"}
        # Set by the environment already, and to what: that cannot be asked, and so not be restored.
        mine = not os.environ.get("MALLOC_PERTURB_") and "perturb" not in os.environ.get("GLIBC_TUNABLES", "")
        if mine:
            mallopt(M_PERTURB, FREED)
            if perturbs():
                found.add("malloc")
        else:
            found.add("malloc")
        if openblas.find():
            openblas_begin()
            found.add("blas")
        kinds = frozenset(found)
    depth += 1
    return kinds


def end():
    """Close a block: wipe what this thread has left, and at the last one go back to how it was before."""
    global depth
    openblas_wipe()
    depth -= 1
    if depth == 0:
        openblas_end()
        if mine:
            mallopt(M_PERTURB, 0)
    freed_wipe()
    residue_wipe_all()
