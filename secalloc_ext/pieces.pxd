"""Layer 3: the mapped pieces of a heap that wait to become slabs."""
from secalloc_ext.frame cimport account_t, frame_t

cdef enum:
    PIECE_SIZES = 6        # 4, 8, 16, 32, 64, 124 KiB; a size index counts these
    PIECE_FIRST = 2        # size index of a class's first slab
    PIECE_LARGEST = 5
    PIECE_STATES = 3       # used, ready, untouched
    PIECE_LISTS = 18

cdef struct pieces_t:
    account_t *account
    frame_t *free[PIECE_LISTS]   # by state, and in each by size index
    size_t ready_bytes     # of those that are ready
    size_t held            # pieces of the largest size that are being touched: in no list
    bint ahead             # a thread may touch pieces ahead of need
    size_t ahead_below     # only while less is committed
    bint wished, queued    # these two are the thread's, see `prefault`
    pieces_t *next_wish

cdef size_t pieces_index(size_t bytes) noexcept nogil                                 # smallest piece that holds it
cdef frame_t *pieces_take(pieces_t *pieces, size_t smallest, bint used) noexcept nogil        # by size index, or NULL
cdef void pieces_give(pieces_t *pieces, frame_t *piece) noexcept nogil
cdef frame_t *pieces_hold(pieces_t *pieces) noexcept nogil                            # the largest, untouched; or NULL
cdef void pieces_give_held(pieces_t *pieces, frame_t *piece) noexcept nogil           # touched
cdef bint pieces_grow(pieces_t *pieces, size_t index, size_t smallest, size_t count, int *error) noexcept nogil
cdef void pieces_drop(pieces_t *pieces, size_t keep) noexcept nogil                   # release empty chunks
