# cython: language_level=3
"""Layer 3: a heap's stock of mapped pieces that are no slab at present, and its growth by chunks.

The account's lock is held in every call.

Invariants
    - A piece in `free` is all zero, of kind KIND_PIECE, and its chunk's chunk_used does not count it.
    - chunk_used of a chunk is the number of its pieces that are slabs, or held.
    - ready_bytes is the sum of the pieces of SHAPE_READY in `free`.
"""
from libc.stdint cimport uint16_t
from secalloc_ext.chunk cimport chunk_create, chunk_frame, chunk_release
from secalloc_ext.frame cimport (
    SHAPE_HELD, SHAPE_READY, SHAPE_UNTOUCHED, SHAPE_USED, account_is_locked, frame_t)
from secalloc_ext.framelist cimport framelist_push, framelist_remove
from secalloc_ext.heaplock cimport heaplock_settle
from secalloc_ext.prim cimport ERROR_MAP_COUNT, ERROR_NONE, PAGE_BYTES, PIECE_BYTES_MAX, fatal_error

cdef enum:
    CHUNK_PIECES_MAX = 32
    CHUNK_SHARE = 8                  # a new chunk is at most this part of what the heap has committed

cdef size_t[PIECE_SIZES] PIECE_BYTES = [4096, 8192, 16384, 32768, 65536, PIECE_BYTES_MAX]


cdef size_t pieces_index(size_t bytes) noexcept nogil:
    """The smallest piece that holds `bytes`, or the largest there is."""
    cdef size_t i = 0
    while i < PIECE_LARGEST and PIECE_BYTES[i] < bytes:
        i += 1
    return i


cdef size_t list_of(const frame_t *piece) noexcept nogil:
    return pieces_index(piece.piece_bytes) + PIECE_SIZES * (piece.shape - SHAPE_USED)


cdef void link(pieces_t *pieces, frame_t *piece) noexcept nogil:
    framelist_push(&pieces.free[list_of(piece)], piece)
    if piece.shape == SHAPE_READY:
        pieces.ready_bytes += piece.piece_bytes


cdef void unlink(pieces_t *pieces, frame_t *piece) noexcept nogil:
    framelist_remove(&pieces.free[list_of(piece)], piece)
    if piece.shape == SHAPE_READY:
        pieces.ready_bytes -= piece.piece_bytes


cdef frame_t *take_from(pieces_t *pieces, size_t list) noexcept nogil:
    cdef frame_t *piece = pieces.free[list]
    if piece != NULL:
        unlink(pieces, piece)
        chunk_frame(piece.chunk_first).chunk_used += 1
    return piece


cdef frame_t *pieces_take(pieces_t *pieces, size_t smallest, bint used) noexcept nogil:
    """A free piece of size index `smallest` or above, out of the lists: one `used` before, or any. Or NULL."""
    cdef size_t state, i
    cdef frame_t *piece = NULL
    for i in range(smallest, PIECE_SIZES):
        for state in range(1 if used else PIECE_STATES):
            if piece == NULL:
                piece = take_from(pieces, state * PIECE_SIZES + i)
    return piece


cdef frame_t *pieces_hold(pieces_t *pieces) noexcept nogil:
    cdef frame_t *piece = take_from(pieces, (SHAPE_UNTOUCHED - SHAPE_USED) * PIECE_SIZES + PIECE_LARGEST)
    if piece != NULL:
        piece.shape = SHAPE_HELD
        pieces.held += 1
    return piece


cdef void give(pieces_t *pieces, frame_t *piece, uint16_t shape) noexcept nogil:
    chunk_frame(piece.chunk_first).chunk_used -= 1
    piece.shape = shape
    link(pieces, piece)


cdef void pieces_give_held(pieces_t *pieces, frame_t *piece) noexcept nogil:
    pieces.held -= 1
    give(pieces, piece, SHAPE_READY)


cdef bint settle_new(frame_t *first, size_t count) noexcept nogil:
    """Have the pieces of a new chunk closed as their heap is; where that fails the chunk is gone again."""
    cdef size_t i
    for i in range(count):
        if heaplock_settle(first + i) != ERROR_NONE:
            if chunk_release(first) != ERROR_NONE:
                fatal_error("protection cannot be changed")
            return False
    return True


cdef bint pieces_grow(pieces_t *pieces, size_t index, size_t smallest, size_t count, int *error) noexcept nogil:
    """Map a chunk of `count` pieces, 0 for as many as the heap's size calls for; near a limit fewer, then smaller ones,
    down to size index `smallest`."""
    cdef size_t i
    cdef frame_t *first = NULL
    if count == 0 and index == PIECE_LARGEST:
        count = pieces.account.committed // (CHUNK_SHARE * <size_t>PIECE_BYTES_MAX)
    count = 1 if count == 0 else CHUNK_PIECES_MAX if count > CHUNK_PIECES_MAX else count
    while True:
        first = chunk_create(pieces.account, PIECE_BYTES[index], count, PAGE_BYTES, error)
        if first != NULL:
            break
        if count > 1:
            count >>= 1
        elif index > smallest:
            index -= 1
        else:
            return False
    if account_is_locked(pieces.account) and not settle_new(first, count):
        error[0] = ERROR_MAP_COUNT
        return False
    for i in range(count):
        link(pieces, first + i)
    return True


cdef bint chunk_drop(pieces_t *pieces, frame_t *piece) noexcept nogil:
    """Release the chunk of a piece; no piece of it is in use. False where there is no map entry for the hole."""
    cdef frame_t *first = chunk_frame(piece.chunk_first)
    cdef size_t i, count = first.chunk_pieces
    for i in range(count):
        unlink(pieces, first + i)
    if chunk_release(first) == ERROR_NONE:
        return True
    for i in range(count):
        link(pieces, first + i)
    return False


cdef void pieces_drop(pieces_t *pieces, size_t keep) noexcept nogil:
    """Release empty chunks until at most `keep` bytes of free pieces are left."""
    cdef size_t i, chunk_bytes, free_bytes = 0
    cdef frame_t *piece
    for i in range(PIECE_LISTS):
        piece = pieces.free[i]
        while piece != NULL:
            free_bytes += piece.piece_bytes
            piece = piece.next
    for i in range(PIECE_LISTS):
        piece = pieces.free[i]
        while piece != NULL and free_bytes > keep:
            if chunk_frame(piece.chunk_first).chunk_used == 0:
                chunk_bytes = chunk_frame(piece.chunk_first).chunk_pieces * piece.piece_bytes
                if not chunk_drop(pieces, piece):
                    return               # nor would the kernel take another
                free_bytes -= chunk_bytes
                piece = pieces.free[i]   # the chunk's pieces may have stood anywhere in the list: begin again
            else:
                piece = piece.next


cdef void pieces_give(pieces_t *pieces, frame_t *piece) noexcept nogil:
    """Take a retired slab back."""
    give(pieces, piece, SHAPE_USED)
