# cython: language_level=3
"""Layer 3: the pages of revealed bytes: a true `bytes` object whose payload is secret memory.

CPython wants header and payload in one piece, so the two lie on either side of a page boundary::

    #|............ owner, header|payload: size bytes ...|0|c|c ... c|#       # guard page   c canary
      ordinary page, inherited    secret pages, not inherited

To the heap the payload is a large object (KIND_LARGE, SHAPE_REVEALED), new ones by heap_alloc_revealed. It is freed
here only, and kept, open, to be used again: a first touch is what costs. A header is written with each use, by
`revealedbytes`.

Freed payloads hold the canary throughout, so that what is wiped is fit for use as it is: to begin one of `size` bytes
its first bytes are looked at (*write after free*) and the zero behind a string is set, to end it the bytes are covered
with canary again, after the 64 behind them were looked at (*overflow*).

The child of a fork inherits the headers (`chunk_close_all` spares their pages) and no payload: in place of those there
is PROT_NONE, so that nobody takes zeros for a key.

Invariants
    - What is in stock is KIND_LARGE_FREE, and counted by the pool as free; its chunk's chunk_used is 0.
    - A locked heap has no stock, but for what cannot be released; nothing is taken from it: its pages are open.
"""
from libc.stdint cimport uint8_t, uint64_t
from secalloc_ext.chunk cimport chunk_frame, chunk_release, reservation
from secalloc_ext.frame cimport (
    CARE_FLUSH, KIND_INHERITED, KIND_LARGE, KIND_LARGE_FREE, SHAPE_REVEALED, account_is_locked, account_t, frame_kind,
    frame_mark, frame_t)
from secalloc_ext.heaplock cimport heaplock_peek, heaplock_unpeek
from secalloc_ext.mapping cimport mapping_at_fork, mapping_fork_word
from secalloc_ext.prim cimport (
    ERROR_NONE, FRAME_SHIFT, PAGE_BYTES, SLACK_MIN, fatal_error, flush_lines, load_64, lock_drop, lock_take,
    pattern_difference, pattern_fill, unlikely)

cdef enum:
    STOCK_BYTES_MAX = 256 * 1024
    KEPT_BYTES_MAX = 64 * 1024     # what is longer is released at once
    CHECKED_BYTES = 64             # of the canary


cdef void here_again() noexcept nogil:
    """In a child whose handlers run: those of the heaps tell what is inherited."""
    if reveal_here != NULL:
        reveal_here[0] = 1


cdef uint64_t *fork_word() noexcept nogil:
    return mapping_fork_word() if mapping_at_fork(NULL, NULL, here_again) == ERROR_NONE else NULL


reveal_here = fork_word()


# --- canary: the words of a payload that no byte of an object is in ---------------------------------------------------

cdef inline size_t words(size_t size) noexcept nogil:
    """Bytes of the words that an object and the zero behind it touch."""
    return (size + 8) & ~<size_t>7


cdef inline bint is_untouched(const frame_t *frame, size_t size) noexcept nogil:
    return pattern_difference(frame.start, frame.start + words(size), frame.canary) == 0


cdef inline uint64_t mask_from(size_t byte) noexcept nogil:
    """The bytes of a word from `byte` on."""
    return ~<uint64_t>0 << (8 * byte)


cdef inline bint is_whole(const frame_t *frame, size_t size) noexcept nogil:
    """Whether the zero behind the object, the rest of its word, and what follows are as they were."""
    cdef const uint8_t *last = frame.start + words(size) - 8
    cdef const uint8_t *end = frame.start + frame.piece_bytes
    cdef uint64_t first = (load_64(last) ^ frame.canary & ~(<uint64_t>0xff << 8 * (size & 7))) & mask_from(size & 7)
    if last + 8 + CHECKED_BYTES < end:
        end = last + 8 + CHECKED_BYTES
    return (first | pattern_difference(last + 8, end, frame.canary)) == 0


# --- stock ------------------------------------------------------------------------------------------------------------

cdef inline frame_t *frame_of(const uint8_t *payload) noexcept nogil:
    return reservation.frames + (<size_t>(payload - reservation.base) >> FRAME_SHIFT)


cdef inline bint fits(const frame_t *frame, size_t size) noexcept nogil:
    """Whether it has room, and is not much too long."""
    return size <= frame.piece_bytes - SLACK_MIN and frame.piece_bytes <= PAGE_BYTES + 2 * size


cdef frame_t *unlink_fitting(reveal_stock_t *stock, size_t size) noexcept nogil:
    cdef frame_t **place = &stock.free
    cdef frame_t *frame
    while place[0] != NULL and not fits(place[0], size):
        place = &place[0].next
    frame = place[0]
    if frame != NULL:
        place[0] = frame.next
        stock.count -= 1
        stock.committed -= frame.piece_bytes
    return frame


cdef uint8_t *reveal_take(reveal_stock_t *stock, large_pool_t *pool, account_t *account, size_t size) noexcept nogil:
    cdef frame_t *frame
    cdef uint8_t *payload = NULL
    lock_take(&account.lock)
    frame = NULL if account_is_locked(account) else unlink_fitting(stock, size)
    if frame != NULL:
        payload = frame.start
        if unlikely(not is_untouched(frame, size)):
            fatal_error("write after free")
        payload[size] = 0
        pool.free_count -= 1
        pool.free_committed -= frame.piece_bytes
        pool.live += 1
        pool.live_bytes += size
        pool.live_committed += frame.piece_bytes
        chunk_frame(frame.chunk_first).chunk_used = 1
        frame.object_bytes = size
        frame_mark(frame, KIND_LARGE)
    lock_drop(&account.lock)
    return payload


cdef void wipe_payload(frame_t *frame) noexcept nogil:
    pattern_fill(frame.start, frame.start + words(frame.object_bytes), frame.canary)
    if frame.care & CARE_FLUSH:
        flush_lines(frame.start, frame.object_bytes)


cdef void put(reveal_stock_t *stock, large_pool_t *pool, frame_t *frame) noexcept nogil:
    frame.next = stock.free
    stock.free = frame
    stock.count += 1
    stock.committed += frame.piece_bytes
    pool.free_count += 1
    pool.free_committed += frame.piece_bytes


cdef void reveal_give(reveal_stock_t *stock, large_pool_t *pool, uint8_t *payload) noexcept nogil:
    cdef frame_t *frame = frame_of(payload)
    cdef account_t *account = frame.account
    cdef bint was_open, locked
    lock_take(&account.lock)
    if unlikely(frame_kind(frame) != KIND_LARGE or frame.start != payload):
        fatal_error("double free")
    locked = account_is_locked(account)
    was_open = heaplock_peek(frame) if unlikely(locked) else True
    if unlikely(not is_whole(frame, frame.object_bytes)):
        fatal_error("overflow")
    wipe_payload(frame)
    if unlikely(locked):
        heaplock_unpeek(frame, was_open)
    pool.live -= 1
    pool.live_bytes -= frame.object_bytes
    pool.live_committed -= frame.piece_bytes
    chunk_frame(frame.chunk_first).chunk_used = 0
    frame_mark(frame, KIND_LARGE_FREE)
    # Where there is no map entry to be had for the hole, it stays in stock.
    if (not locked and frame.piece_bytes <= KEPT_BYTES_MAX and stock.committed + frame.piece_bytes <= STOCK_BYTES_MAX
            or chunk_release(frame) != ERROR_NONE):
        put(stock, pool, frame)
    lock_drop(&account.lock)


cdef void reveal_drop(reveal_stock_t *stock, large_pool_t *pool) noexcept nogil:
    cdef frame_t *frame = stock.free
    cdef frame_t *following
    reveal_forget(stock)
    while frame != NULL:
        following = frame.next
        pool.free_count -= 1
        pool.free_committed -= frame.piece_bytes
        if chunk_release(frame) != ERROR_NONE:
            put(stock, pool, frame)
        frame = following


cdef void reveal_forget(reveal_stock_t *stock) noexcept nogil:
    stock.free = NULL
    stock.count = stock.committed = 0


cdef frame_t *reveal_inherited(frame_t *since) noexcept nogil:
    """Go through the records of payloads that were the parent's: their headers are here."""
    cdef frame_t *frame = reservation.frames if since == NULL else since + 1
    cdef frame_t *end = reservation.frames + (reservation.used >> FRAME_SHIFT)
    while frame < end:
        if frame_kind(frame) == KIND_INHERITED and frame.shape == SHAPE_REVEALED:
            return frame
        frame += 1
    return NULL
