"""Layer 3: the mapped pieces of a heap that wait to become slabs."""
from secalloc_ext.frame cimport account_t, frame_t

cdef enum:
    PIECE_SIZES = 6        # 4, 8, 16, 32, 64, 124 KiB; a size index counts these
    PIECE_FIRST = 2        # size index of a class's first slab
    PIECE_LARGEST = 5

cdef struct pieces_t:
    account_t *account
    frame_t *free[PIECE_SIZES]

cdef size_t pieces_index(size_t bytes) noexcept nogil                                 # smallest piece that holds it
cdef frame_t *pieces_take(pieces_t *pieces, size_t smallest, size_t largest) noexcept nogil   # by size index, or NULL
cdef void pieces_give(pieces_t *pieces, frame_t *piece) noexcept nogil
cdef bint pieces_grow(pieces_t *pieces, size_t index, size_t smallest, int *error) noexcept nogil
cdef void pieces_drop(pieces_t *pieces, size_t keep) noexcept nogil                   # release empty chunks
