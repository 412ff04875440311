# cython: language_level=3
"""Layer 2: who owns which part of the reservation.

Two reservations for the life of the process, far apart, both at addresses the kernel randomises::

    objects   |frame 0      |frame 1      |frame 2      | ...          PROT_NONE but for mapped pieces
              #|piece       #|piece       #|one large piece ...|#      # guard page
    metadata  #| frame records | # | bitmaps and states | # | thread caches | #

A chunk of slabs is `count` frames with a piece in each, `PAGE_BYTES` from the frame's start. A large object is a chunk
of one piece over as many frames as it needs. Metadata is committed up to the highest frame used, ahead of touching.

Callers hold their account's lock. `ranges_lock` guards the list of unused ranges, the high-water mark and the
metadata's; it is the innermost lock.

Invariants
    - A frame record with kind UNUSED has nothing mapped in its frame but what a preceding large object maps there; or,
      in a range that is in `littered`, what a failed chunk_create could not take away.
    - account.committed is the sum of piece_bytes * chunk_pieces over the account's chunks.
    - Frames below the high-water mark are tiled by chunks, unused ranges (chunk_pieces is 0) and frames left out as
      gaps (chunk_frames is 0); the first frame's record tells.
    - A range in a bin is at least as long as any that is looked for there.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from secalloc_ext.frame cimport (
    KIND_INHERITED, KIND_PIECE, KIND_UNUSED, SHAPE_UNTOUCHED, account_t, frame_kind, frame_lead, frame_mark, frame_t)
from secalloc_ext.mapping cimport (
    mapping_address_space, mapping_check_machine, mapping_commit, mapping_create, mapping_random, mapping_release,
    mapping_reserve, mapping_seal, mapping_unreserve)
from secalloc_ext.prim cimport (
    DETAIL_BYTES, ERROR_ADDRESS_SPACE, ERROR_HEAP_LIMIT, ERROR_MAP_COUNT, ERROR_NONE, FRAME_BYTES, FRAME_SHIFT,
    LINE_BYTES, PAGE_BYTES, SLAB_WORDS_MAX, atomic_load_32_relaxed, atomic_load_acquire, atomic_load_pointer,
    atomic_store_32_relaxed, atomic_store_pointer, atomic_store_relaxed, atomic_store_release, bits_last, fatal_error,
    lock_drop, lock_init, lock_t, lock_take)
from secalloc_ext.rng cimport rng_byte, rng_fill, rng_t

cdef enum:
    BIN_EXACT = 32                       # ranges up to this many frames are recycled by exact length
    RANGE_BINS = BIN_EXACT + 1 + 8 * 20
    FRAMES_MIN = 128                     # a smaller reservation is not worth having
    CACHES_BYTES_MAX = 1 << 28           # address space for thread caches; an eighth of a small reservation

cdef struct region_t:                    # a growing part of the metadata reservation
    uint8_t *base
    size_t committed
    size_t limit

cdef lock_t ranges_lock
lock_init(&ranges_lock)

cdef region_t records, details, caches
cdef size_t caches_used
cdef bint sealed                         # what is committed from now on is sealed, too
cdef frame_t *ranges[RANGE_BINS]         # unused ranges by length, linked by `next`; length in chunk_frames
cdef frame_t *littered                   # ranges to be cleared before they are unused, of piece_bytes from start on
cdef rng_t gaps


cdef int region_grow(region_t *region, size_t used) noexcept nogil:
    """Have the first `used` bytes of the region committed."""
    cdef size_t target = (used + (1 << 18) - 1) & ~<size_t>((1 << 18) - 1)
    cdef int error
    if used <= region.committed:
        return ERROR_NONE
    if target > region.limit:
        target = region.limit
    if used > target:
        return ERROR_ADDRESS_SPACE
    error = mapping_commit(region.base + region.committed, target - region.committed)
    if error == ERROR_NONE and sealed:
        error = mapping_seal(region.base + region.committed, target - region.committed)
    if error == ERROR_NONE:
        region.committed = target
    return error


cdef int region_seal(const region_t *region) noexcept nogil:
    """What is committed, and the guard page before it."""
    if region.base == NULL:
        return ERROR_NONE
    return mapping_seal(region.base - PAGE_BYTES, PAGE_BYTES + region.committed)


cdef uint8_t *region_init(region_t *region, uint8_t *base, size_t size) noexcept nogil:
    """Lay the region behind a guard page at `base`; answers where the next may begin."""
    region.base = base + PAGE_BYTES
    region.limit = (size + PAGE_BYTES - 1) & ~<size_t>(PAGE_BYTES - 1)
    region.committed = 0
    return region.base + region.limit


cdef int reserve_all(size_t bytes) noexcept nogil:
    """Both reservations for `bytes` of objects; halves the wish until the kernel grants it."""
    cdef size_t frames, metadata, for_caches
    cdef uint8_t *objects
    cdef uint8_t *base
    cdef uint8_t *end
    while bytes >= FRAMES_MIN * <size_t>FRAME_BYTES:
        frames = bytes >> FRAME_SHIFT
        for_caches = CACHES_BYTES_MAX if bytes >> 3 > CACHES_BYTES_MAX else bytes >> 3
        metadata = frames * (sizeof(frame_t) + DETAIL_BYTES) + for_caches + 8 * PAGE_BYTES
        # One page more, so that the last frame too is followed by a guard; frames are aligned to their size.
        objects = mapping_reserve(bytes + FRAME_BYTES + PAGE_BYTES)
        base = mapping_reserve(metadata)
        if objects != NULL and base != NULL:
            end = region_init(&records, base, frames * sizeof(frame_t))
            end = region_init(&details, end, frames * DETAIL_BYTES)
            region_init(&caches, end, for_caches)
            reservation.frames = <frame_t *>records.base
            reservation.base = <uint8_t *>((<size_t>objects + FRAME_BYTES - 1) & ~<size_t>(FRAME_BYTES - 1))
            atomic_store_release(<uint64_t *>&reservation.bytes, bytes)
            return ERROR_NONE
        if objects != NULL:
            mapping_unreserve(objects, bytes + FRAME_BYTES + PAGE_BYTES)
        if base != NULL:
            mapping_unreserve(base, metadata)
        bytes >>= 1
    return ERROR_ADDRESS_SPACE


cdef int chunk_init(size_t bytes) noexcept nogil:
    """Reserve the address space: `bytes`, or as much as RLIMIT_AS allows where that is 0 or less."""
    cdef size_t allowed = mapping_address_space()
    cdef int error = ERROR_NONE
    if sizeof(frame_t) != 2 * LINE_BYTES:  # known when compiling
        fatal_error("a frame record is not two cache lines")
    lock_take(&ranges_lock)
    if reservation.base == NULL:
        error = mapping_check_machine()
        if error == ERROR_NONE:
            error = mapping_random(gaps.key, sizeof(gaps.key))
        if error == ERROR_NONE:
            rng_fill(&gaps)
            error = reserve_all(allowed if bytes == 0 or bytes > allowed else bytes)
    lock_drop(&ranges_lock)
    return error


cdef int chunk_seal() noexcept nogil:
    """Have the metadata's mappings and the last guard page stay what they are, now and as they grow. What holds objects
    cannot be sealed: it is released, locked, and closed in a forked child."""
    cdef int error
    global sealed
    lock_take(&ranges_lock)
    error = mapping_seal(NULL, 0)
    if error == ERROR_NONE and not sealed:
        error = region_seal(&records)
        if error == ERROR_NONE:
            error = region_seal(&details)
        if error == ERROR_NONE:
            error = region_seal(&caches)
        if error == ERROR_NONE and reservation.base != NULL:
            error = mapping_seal(reservation.base + reservation.bytes, PAGE_BYTES)
        sealed = error == ERROR_NONE
    lock_drop(&ranges_lock)
    return error


cdef void *chunk_metadata(size_t size, int *error) noexcept nogil:
    """Ordinary memory, zeroed; NULL with `error` set."""
    cdef void *result = NULL
    global caches_used
    size = (size + LINE_BYTES - 1) & ~<size_t>(LINE_BYTES - 1)
    lock_take(&ranges_lock)
    error[0] = region_grow(&caches, caches_used + size)
    if error[0] == ERROR_NONE:
        result = caches.base + caches_used
        memset(result, 0, size)  # a forked child hands its parent's out again
        caches_used += size
    lock_drop(&ranges_lock)
    return result


cdef size_t range_length(size_t frames) noexcept nogil:
    """The length at which a range of `frames` is recycled: exact, or eight to a doubling."""
    cdef size_t step
    if frames <= BIN_EXACT:
        return frames
    step = <size_t>1 << (bits_last(frames) - 3)
    return (frames + step - 1) & ~(step - 1)


cdef size_t range_bin(size_t length) noexcept nogil:
    cdef unsigned top
    if length <= BIN_EXACT:
        return length
    top = bits_last(length)
    return BIN_EXACT + 1 + 8 * (top - 5) + ((length >> (top - 3)) & 7)


cdef frame_t *range_at(size_t index, size_t length) noexcept nogil:
    """Make the record of an unused range."""
    cdef frame_t *first = reservation.frames + index
    first.chunk_first = <uint32_t>index
    first.chunk_frames = <uint32_t>length
    first.chunk_pieces = 0
    return first


cdef void range_link(frame_t *first) noexcept nogil:
    cdef size_t bin = range_bin(first.chunk_frames)
    first.next = ranges[bin]
    ranges[bin] = first


cdef void litter_clear() noexcept nogil:
    """Try again to clear what could not be cleared; ranges_lock is held."""
    cdef frame_t *first
    global littered
    while littered != NULL and mapping_release(littered.start, littered.piece_bytes) == ERROR_NONE:
        first = littered
        littered = first.next
        first.start = NULL
        first.chunk_pieces = 0
        range_link(first)


cdef frame_t *range_new(size_t index, size_t length, int *error) noexcept nogil:
    """A range that ends at the new high-water mark."""
    cdef size_t end = index + length
    if end > reservation.bytes >> FRAME_SHIFT:
        error[0] = ERROR_ADDRESS_SPACE
        return NULL
    error[0] = region_grow(&records, end * sizeof(frame_t))
    if error[0] == ERROR_NONE:
        error[0] = region_grow(&details, end * DETAIL_BYTES)
    if error[0] != ERROR_NONE:
        return NULL
    atomic_store_release(<uint64_t *>&reservation.used, end << FRAME_SHIFT)
    return range_at(index, length)


cdef frame_t *range_joined(size_t length, int *error) noexcept nogil:
    """Join neighbouring unused ranges, and the gaps between them; answers the first run that is long enough, cut to
    `length`. For a reservation that is used to its end, be it small (RLIMIT_AS) or fragmented."""
    cdef size_t used = reservation.used >> FRAME_SHIFT
    cdef size_t index = 0
    cdef size_t run = 0
    cdef frame_t *found = NULL
    cdef frame_t *frame
    memset(ranges, 0, sizeof(ranges))
    while True:
        frame = reservation.frames + index
        if index < used and (frame.chunk_frames == 0 or atomic_load_32_relaxed(&frame.chunk_pieces) == 0):
            index += 1 if frame.chunk_frames == 0 else frame.chunk_frames
            continue
        # The run ends at a chunk, or at the high-water mark, where there may be more.
        if found == NULL and index - run >= length:
            found = range_at(run, length)
            run += length
        elif found == NULL and index == used:
            found = range_new(run, length, error)
            run = run if found == NULL else used
        if index > run:
            range_link(range_at(run, index - run))
        if index == used:
            return found
        index += frame.chunk_frames
        run = index


cdef frame_t *range_take(size_t frames, size_t gap, int *error) noexcept nogil:
    """A run of unused frames, from the list of its length, or behind the last with a random gap of at most `gap`."""
    cdef size_t length = range_length(frames)
    cdef size_t bin = range_bin(length)
    cdef frame_t *first = NULL
    if bin >= RANGE_BINS:
        error[0] = ERROR_ADDRESS_SPACE
        return NULL
    lock_take(&ranges_lock)
    litter_clear()
    if littered != NULL:       # else each try would leave more of it
        error[0] = ERROR_MAP_COUNT
    elif ranges[bin] != NULL:
        first = ranges[bin]
        ranges[bin] = first.next
    else:
        first = range_new((reservation.used >> FRAME_SHIFT) + rng_byte(&gaps) % (gap + 1), length, error)
        if first == NULL and error[0] == ERROR_ADDRESS_SPACE:
            first = range_joined(length, error)
    if first != NULL:
        first.chunk_pieces = 1  # not unused any more; chunk_create knows how many
    lock_drop(&ranges_lock)
    return first


cdef void range_give(frame_t *first) noexcept nogil:
    lock_take(&ranges_lock)
    first.chunk_pieces = 0
    range_link(first)
    lock_drop(&ranges_lock)


cdef void range_give_littered(frame_t *first, uint8_t *start, size_t span) noexcept nogil:
    global littered
    lock_take(&ranges_lock)
    first.start = start
    first.piece_bytes = span
    first.next = littered
    littered = first
    lock_drop(&ranges_lock)


cdef uint8_t *frame_address(frame_t *frame) noexcept nogil:
    return reservation.base + (<size_t>(frame - reservation.frames) << FRAME_SHIFT)


cdef frame_t *chunk_frame(uint32_t index) noexcept nogil:
    return reservation.frames + index


cdef frame_t *chunk_piece(const account_t *account, frame_t *since) noexcept nogil:
    """Go through the records of an account's mapped pieces: the first for NULL, else the next; NULL behind the last."""
    cdef frame_t *frame = reservation.frames if since == NULL else since + 1
    cdef frame_t *end = reservation.frames + (atomic_load_acquire(<uint64_t *>&reservation.used) >> FRAME_SHIFT)
    cdef uint16_t kind
    while frame < end:
        # In this order: a frame that another heap takes over at the moment has its account before its kind.
        kind = frame_kind(frame)
        if kind != KIND_UNUSED and kind != KIND_INHERITED and atomic_load_pointer(
                <void **>&frame.account) == <const void *>account:
            return frame
        frame += 1
    return NULL


cdef void frame_set(frame_t *frame, frame_t *first, uint8_t *start, size_t piece, account_t *account) noexcept nogil:
    """Make `frame` the record of a mapped piece at `start`."""
    cdef size_t index = <size_t>(frame - reservation.frames)
    atomic_store_pointer(<void **>&frame.start, start)
    atomic_store_relaxed(<uint64_t *>&frame.piece_bytes, piece)
    atomic_store_pointer(<void **>&frame.account, account)
    frame.bitmap = <uint64_t *>(details.base + index * DETAIL_BYTES)
    frame.states = <uint16_t *>(frame.bitmap + SLAB_WORDS_MAX)
    frame.chunk_first = first.chunk_first
    frame.care = <uint16_t>account.care
    frame.shape = SHAPE_UNTOUCHED
    frame_mark(frame, KIND_PIECE)


cdef frame_t *chunk_create(account_t *account, size_t piece, size_t count, size_t alignment,
                           int *error) noexcept nogil:
    """Map a chunk: `count` slab pieces, or one large piece that starts at a multiple of `alignment`.

    Parameters
    ----------
    piece : bytes, whole pages; at most PIECE_BYTES_MAX where `count` is above 1
    alignment : a power of two; above PAGE_BYTES only with `count` 1

    Returns
    -------
    The first frame's record; for a large piece, the record of the frame in which it starts. NULL with `error` set.
    """
    cdef size_t offset = PAGE_BYTES if alignment <= PAGE_BYTES else alignment
    cdef size_t frames = count
    cdef size_t i, left
    cdef frame_t *first
    cdef frame_t *frame
    cdef uint8_t *start
    if account.limit != 0 and (piece * count > account.limit or account.committed > account.limit - piece * count):
        error[0] = ERROR_HEAP_LIMIT
        return NULL
    if count == 1:
        frames = (offset + piece + FRAME_BYTES - 1) >> FRAME_SHIFT
    first = range_take(frames, account.gap_frames, error)
    if first == NULL:
        return NULL
    start = frame_address(first) + PAGE_BYTES
    if alignment > PAGE_BYTES:
        start = <uint8_t *>((<size_t>start + alignment - 1) & ~(alignment - 1))
    error[0] = mapping_create(start, piece, FRAME_BYTES, count, account.backend, account.flags, False,
                              &left)
    if error[0] != ERROR_NONE:
        if left > 0:
            range_give_littered(first, start, (left - 1) * FRAME_BYTES + piece)
        else:
            range_give(first)
        return NULL
    atomic_store_32_relaxed(&first.chunk_pieces, <uint32_t>count)
    first.chunk_used = 0
    account.chunks += 1
    account.committed += piece * count
    if account.committed > account.committed_peak:
        account.committed_peak = account.committed
    for i in range(count):
        frame = reservation.frames + (<size_t>(start + i * FRAME_BYTES - reservation.base) >> FRAME_SHIFT)
        frame_set(frame, first, start + i * FRAME_BYTES, piece, account)
    return reservation.frames + (<size_t>(start - reservation.base) >> FRAME_SHIFT)


cdef int chunk_release(frame_t *frame) noexcept nogil:
    """Give a chunk's pages back to the kernel; `frame` is what chunk_create answered. No piece is in any list."""
    cdef frame_t *first = reservation.frames + frame.chunk_first
    cdef account_t *account = frame.account
    cdef size_t piece = frame.piece_bytes
    cdef size_t count = first.chunk_pieces
    cdef size_t i, lead = frame_lead(frame)
    cdef int error = mapping_release(frame.start - lead, lead + (count - 1) * FRAME_BYTES + piece)
    if error != ERROR_NONE:
        return error
    for i in range(count):
        frame_mark(frame + i, KIND_UNUSED)
        atomic_store_pointer(<void **>&frame[i].start, NULL)
    account.chunks -= 1
    account.committed -= piece * count
    range_give(first)
    return ERROR_NONE


cdef void chunk_lock(bint take) noexcept nogil:
    """Around a fork: the parent keeps other threads out of the ranges meanwhile."""
    if take:
        lock_take(&ranges_lock)
    else:
        lock_drop(&ranges_lock)


cdef void close_between(uint8_t *first, uint8_t *end) noexcept nogil:
    if first < end and mapping_release(first, <size_t>(end - first)) != ERROR_NONE:
        fatal_error("inherited pages cannot be closed")


cdef void chunk_close_all() noexcept nogil:
    """In a forked child: close the holes that the parent's pieces left, before anything else lands in them. What stays
    is ordinary pages with the headers of Python's objects."""
    cdef uint8_t *first = reservation.base
    cdef uint8_t *lead
    cdef frame_t *frame = reservation.frames
    lock_init(&ranges_lock)
    while first != NULL and frame < reservation.frames + (reservation.used >> FRAME_SHIFT):
        if frame_kind(frame) != KIND_UNUSED and frame_lead(frame) > 0:
            lead = frame.start - frame_lead(frame)
            close_between(first, lead)
            first = frame.start
        frame += 1
    if first != NULL:
        close_between(first, reservation.base + reservation.bytes)
