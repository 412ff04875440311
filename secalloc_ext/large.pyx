# cython: language_level=3, cdivision=True
"""Layer 3: large objects.

Each is a chunk of its own, between guard pages, what it does not need of its pages filled with canary::

    #|c ... c|object: size bytes ........................|0|c ... c|#        # guard page, never mapped
      ^offset                                            ^slack, 8 bytes or more

The offset is random, of 64 bytes or the alignment asked for, within the last page: if all began at a page boundary,
copies from one to another would meet what the processor takes for the same address (a `rep movs` to some bytes above,
modulo 4096, is slower by a factor of 30 on AMD's processors), and share few sets of its caches.

A *guarded* one ends at the guard page, so that the first byte behind it faults, and all its slack lies before it::

    #|c c ... c|object: size bytes ........................|#

Its pages can be made inaccessible or read-only while it lives. One of no bytes begins at the guard page: who touches a
byte of it faults.

The payload of *revealed* bytes is one that follows on an ordinary page, at whose end Python's header of it is. Its free
and its stock are `revealpages`::

    #|.......... header|payload: size bytes ..................|0|c|c ... c|#
      ^ordinary page    ^page boundary

Freed, one of more than `retain` bytes goes back to the kernel at once. Any other is wiped and kept, up to `retain`
bytes: a first touch of a secret page costs about ten times an ordinary one. On its way to reuse it goes

    warm         one of at most 64 KiB, or array data: accessible, since closing and opening would cost more than all
                 else; like a slot, it must be zero when it is handed out again. The next to take its random place sends
                 it on
    quarantine   inaccessible, so that a late read or write faults; likewise in a random place until another takes that
    pool         inaccessible, to be used again

The account's lock guards the pool and an object's change of kind. Wiping happens outside it: a large_free first takes
the object out of circulation (KIND_LARGE_FREE), then wipes.

Invariants
    - The account's committed bytes for large objects are live_committed + free_committed; what is warm and what is in
      quarantine is part of the latter.
    - What is warm can be accessed, all else that is free cannot, but for what is being wiped.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from secalloc_ext.chunk cimport chunk_create, chunk_frame, chunk_release, reservation
from secalloc_ext.frame cimport (
    CARE_FLUSH, KIND_LARGE, KIND_LARGE_FREE, SHAPE_ARRAY, SHAPE_GUARDED, SHAPE_PLAIN, SHAPE_REVEALED,
    account_is_locked, account_t, frame_is_guarded, frame_kind, frame_mark, frame_t)
from secalloc_ext.framelist cimport framelist_push, framelist_remove
from secalloc_ext.heaplock cimport heaplock_expose, heaplock_settle
from secalloc_ext.mapping cimport (
    ACCESS_NONE, ACCESS_READ_WRITE, BACKEND_SECRETMEM, mapping_commit, mapping_random)
from secalloc_ext.prim cimport (
    ERROR_MAP_COUNT, ERROR_MEMORY, ERROR_NONE, ERROR_SIZE, LINE_BYTES, PAGE_BYTES, SLACK_MIN, bits_last, fatal_error,
    flush_lines, lock_drop, lock_take, pattern_difference, pattern_fill, size_add, wipe)
from secalloc_ext.rng cimport rng_byte, rng_fill, rng_secret, rng_t
from secalloc_ext.slot cimport canary_fill, canary_is_intact, slot_is_zero


cdef int large_init(large_pool_t *pool, size_t retain, uint32_t places, uint32_t warm) noexcept nogil:
    """An empty pool. ERROR_RANDOM when there are no random bytes to be had."""
    cdef int error
    memset(pool, 0, sizeof(pool[0]))
    pool.retain = retain
    pool.quarantine_places = places if places < QUARANTINE_LARGE_MAX else QUARANTINE_LARGE_MAX
    pool.warm_places = warm if warm < WARM_LARGE_MAX else WARM_LARGE_MAX
    error = mapping_random(pool.rng.key, sizeof(pool.rng.key))
    if error == ERROR_NONE:
        rng_fill(&pool.rng)
    return error


cdef size_t bin_of(size_t piece) noexcept nogil:
    """Eight bins to a doubling of pages."""
    cdef size_t pages = piece // PAGE_BYTES
    cdef unsigned top
    if pages < 8:
        return pages
    top = bits_last(pages)
    return 8 * (top - 2) + ((pages >> (top - 3)) & 7)


cdef void pool_link(large_pool_t *pool, frame_t *object) noexcept nogil:
    framelist_push(&pool.free[bin_of(object.piece_bytes)], object)


cdef void pool_take(large_pool_t *pool, const frame_t *object) noexcept nogil:
    """The accounting of one that leaves the pool, its quarantine or the warm ones."""
    pool.free_count -= 1
    pool.free_committed -= object.piece_bytes


cdef void pool_put(large_pool_t *pool, const frame_t *object) noexcept nogil:
    pool.free_count += 1
    pool.free_committed += object.piece_bytes


cdef void pool_unlink(large_pool_t *pool, frame_t *object) noexcept nogil:
    framelist_remove(&pool.free[bin_of(object.piece_bytes)], object)


cdef frame_t *quarantined(large_pool_t *pool, frame_t *object) noexcept nogil:
    """Put a freed object in a random place of the quarantine; answers the one that was there, or NULL. What is too big
    for the quarantine comes back itself."""
    cdef frame_t *displaced
    cdef size_t place
    if pool.quarantine_places == 0 or object.piece_bytes > QUARANTINE_LARGE_BYTES_MAX:
        return object
    place = rng_byte(&pool.rng) % pool.quarantine_places
    displaced = pool.quarantine[place]
    pool.quarantine[place] = object
    return displaced


cdef void settle(frame_t *object) noexcept nogil:
    if heaplock_settle(object) != ERROR_NONE:
        fatal_error("protection cannot be changed")


cdef void expose(frame_t *object) noexcept nogil:
    if heaplock_expose(object) != ERROR_NONE:
        fatal_error("protection cannot be changed")


cdef frame_t *warmed(large_pool_t *pool, frame_t *object) noexcept nogil:
    """Put a wiped and open object in a random warm place; answers the one that was there, closed, or NULL. What is
    closed comes back itself."""
    cdef frame_t *displaced
    cdef size_t place
    if object.access != ACCESS_READ_WRITE:
        return object
    place = rng_byte(&pool.rng) % pool.warm_places
    displaced = pool.warm[place]
    pool.warm[place] = object
    if displaced != NULL:
        settle(displaced)
    return displaced


cdef void large_cool(large_pool_t *pool) noexcept nogil:
    cdef size_t place
    for place in range(pool.warm_places):
        if pool.warm[place] != NULL:
            settle(pool.warm[place])
            pool_link(pool, pool.warm[place])
            pool.warm[place] = NULL


cdef void quarantine_empty(large_pool_t *pool) noexcept nogil:
    cdef size_t place
    large_cool(pool)
    for place in range(pool.quarantine_places):
        if pool.quarantine[place] != NULL:
            pool_link(pool, pool.quarantine[place])
            pool.quarantine[place] = NULL


cdef frame_t *pool_find(large_pool_t *pool, size_t piece, size_t largest) noexcept nogil:
    """A free one of `piece` to `largest` bytes, warm if there is; `largest` is at most an eighth more."""
    cdef size_t bin = bin_of(piece)
    cdef size_t place
    cdef size_t last = bin + 1
    cdef frame_t *object
    for place in range(pool.warm_places):
        object = pool.warm[place]
        if object != NULL and piece <= object.piece_bytes <= largest:
            pool.warm[place] = NULL
            pool_take(pool, object)
            return object
    while bin <= last and bin < LARGE_BINS:
        object = pool.free[bin]
        while object != NULL:
            if piece <= object.piece_bytes <= largest:
                pool_unlink(pool, object)
                pool_take(pool, object)
                return object
            object = object.next
        bin += 1
    return NULL


cdef void large_drop(large_pool_t *pool, size_t keep) noexcept nogil:
    cdef size_t bin = LARGE_BINS
    cdef frame_t *object
    if keep == 0:
        quarantine_empty(pool)
    while bin > 0 and pool.free_committed > keep:
        bin -= 1
        while pool.free[bin] != NULL and pool.free_committed > keep:
            object = pool.free[bin]
            pool_unlink(pool, object)
            pool_take(pool, object)
            if chunk_release(object) != ERROR_NONE:
                pool_link(pool, object)  # no map entry to be had for the hole: it stays in stock
                pool_put(pool, object)
                return


cdef uint8_t *large_object(const frame_t *object) noexcept nogil:
    """Where the user's bytes begin. The guard page of a guarded object of no bytes is in its own frame, so unique."""
    return object.start + object.front_bytes


cdef uint16_t front_for(const frame_t *object, size_t size, size_t alignment, int shape, rng_t *rng) noexcept nogil:
    """At how many bytes of its pages an object of so many bytes is to begin."""
    cdef size_t room = object.piece_bytes - size   # at least a page's less is needed: see `large_alloc`
    cdef size_t step = alignment if alignment > LINE_BYTES else LINE_BYTES
    if shape == SHAPE_GUARDED:
        return <uint16_t>room
    if shape == SHAPE_REVEALED or step >= PAGE_BYTES:
        return 0
    room = (room if room < PAGE_BYTES else PAGE_BYTES) - SLACK_MIN
    return <uint16_t>(rng_byte(rng) % (room // step + 1) * step)


cdef void slack_fill(const frame_t *object) noexcept nogil:
    cdef uint8_t *first = large_object(object)
    cdef uint8_t *next = first - (<size_t>first & 7)
    pattern_fill(object.start, next, object.canary)
    while next < first:
        next[0] = <uint8_t>(object.canary >> ((<size_t>next & 7) * 8))
        next += 1
    if not frame_is_guarded(object):
        canary_fill(object.canary, first + object.object_bytes,
                    object.piece_bytes - object.front_bytes - object.object_bytes, object.object_bytes)


cdef bint front_is_intact(const frame_t *object) noexcept nogil:
    cdef const uint8_t *first = large_object(object)
    cdef const uint8_t *next = first - (<size_t>first & 7)
    if pattern_difference(object.start, next, object.canary) != 0:
        return False
    while next < first:
        if next[0] != <uint8_t>(object.canary >> ((<size_t>next & 7) * 8)):
            return False
        next += 1
    return True


cdef bint tail_is_intact(const frame_t *object) noexcept nogil:
    return frame_is_guarded(object) or canary_is_intact(
        object.canary, large_object(object) + object.object_bytes,
        object.piece_bytes - object.front_bytes - object.object_bytes, object.object_bytes)


cdef bint is_zero(const frame_t *object, rng_t *rng) noexcept nogil:
    """Whether nothing was written to a freed one that was kept open: to all its pages, or, in a sample, to the
    object."""
    if object.account.verify_whole:
        return slot_is_zero(object.start, object.piece_bytes, True, rng)
    return slot_is_zero(large_object(object), (object.object_bytes | 15) + 1, False, rng)  # there are 8 bytes of slack


cdef bint open_or_give(large_pool_t *pool, frame_t *object, size_t size, size_t alignment, uint64_t canary,
                       int shape) noexcept nogil:
    """Make a free or a new one accessible, as a live object; lock held. Where that fails (RLIMIT_DATA) it is gone, or
    in stock as before. The kind comes when all else is there: a signal handler wipes what is live."""
    cdef bint recycled = frame_kind(object) == KIND_LARGE_FREE
    cdef bint warm = recycled and object.access == ACCESS_READ_WRITE
    if warm and not is_zero(object, &pool.rng):
        fatal_error("write after free")
    object.access = ACCESS_READ_WRITE
    object.shape = <uint16_t>shape
    object.object_bytes = size
    object.front_bytes = front_for(object, size, alignment, shape, &pool.rng)
    object.canary = canary
    frame_mark(object, KIND_LARGE)
    if (warm or not recycled) and not account_is_locked(object.account) or heaplock_settle(object) == ERROR_NONE:
        return True
    if recycled:
        frame_mark(object, KIND_LARGE_FREE)
        object.access = ACCESS_NONE  # what is warm is none of a locked heap's
        pool_link(pool, object)
        pool_put(pool, object)
    elif chunk_release(object) != ERROR_NONE:
        fatal_error("protection cannot be changed")
    return False


cdef frame_t *recycled(large_pool_t *pool, size_t piece, size_t largest, size_t size, size_t alignment,
                       uint64_t canary, int shape) noexcept nogil:
    """A free one of `piece` to `largest` bytes, live again; or NULL."""
    cdef frame_t *object = pool_find(pool, piece, largest)
    return object if object != NULL and open_or_give(pool, object, size, alignment, canary, shape) else NULL


cdef frame_t *with_lead(frame_t *object, int *error) noexcept nogil:
    """A new chunk with the ordinary page before it; without one to be had it is gone again."""
    if mapping_commit(object.start - PAGE_BYTES, PAGE_BYTES) == ERROR_NONE:
        return object
    if chunk_release(object) != ERROR_NONE:
        fatal_error("protection cannot be changed")
    error[0] = ERROR_MEMORY
    return NULL


cdef frame_t *large_alloc(large_pool_t *pool, account_t *account, rng_t *rng, size_t size, size_t alignment,
                          int shape, int *error) noexcept nogil:
    """A zeroed object of `size` bytes at a multiple of `alignment` (a power of two) and of LINE_BYTES; or, guarded, up
    against the guard page behind it, and aligned to nothing."""
    cdef size_t piece = 0
    cdef frame_t *object = NULL
    cdef size_t largest
    cdef uint64_t canary
    # What is guarded has its slack where the page leaves some.
    if size_add(size, (1 if size == 0 else 0) if shape == SHAPE_GUARDED else SLACK_MIN, &piece) \
            or size_add(piece, PAGE_BYTES - 1, &piece) or piece > reservation.bytes or alignment > reservation.bytes:
        error[0] = ERROR_SIZE
        return NULL
    piece &= ~<size_t>(PAGE_BYTES - 1)
    largest = 0 if alignment > PAGE_BYTES else piece if shape == SHAPE_GUARDED else piece + piece // 8
    canary = rng_secret(rng)
    lock_take(&account.lock)  # a fork in another thread copies what is live, and must be able to read it
    object = recycled(pool, piece, largest, size, alignment, canary, shape)
    if object == NULL:
        object = chunk_create(account, piece, 1, alignment, error)
    if object == NULL and pool.free_count > 0:
        quarantine_empty(pool)
        object = recycled(pool, piece, largest, size, alignment, canary, shape)
    if object == NULL and pool.free_count > 0:
        large_drop(pool, 0)
        object = chunk_create(account, piece, 1, alignment, error)
    if object != NULL and shape == SHAPE_REVEALED:  # of which none is recycled here: see `largest`
        object = with_lead(object, error)
    if object != NULL and frame_kind(object) != KIND_LARGE:
        if not open_or_give(pool, object, size, alignment, canary, shape):
            error[0] = ERROR_MAP_COUNT
            object = NULL
    if object != NULL:
        slack_fill(object)
        chunk_frame(object.chunk_first).chunk_used = 1
        pool.live += 1
        pool.live_bytes += size
        pool.live_committed += object.piece_bytes
    lock_drop(&account.lock)
    return object


cdef void check_pointer(const frame_t *object, const void *p) noexcept nogil:
    if object.shape == SHAPE_REVEALED:
        fatal_error("pointer was not allocated here")
    if p != large_object(object):
        if <size_t>(<const uint8_t *>p - object.start) >= object.piece_bytes:
            fatal_error("pointer was not allocated here")
        fatal_error("pointer into the middle of an object")
    if frame_kind(object) != KIND_LARGE:
        fatal_error("double free")


cdef size_t size_checked(const frame_t *object) noexcept nogil:
    """The requested size; the object can be read."""
    if not tail_is_intact(object):
        fatal_error("overflow")
    if not front_is_intact(object):
        fatal_error("underflow")
    return object.object_bytes


cdef size_t large_size(const frame_t *object, const void *p) noexcept nogil:
    check_pointer(object, p)
    # What is closed at present is checked when it is freed.
    if object.access == ACCESS_NONE or account_is_locked(object.account):
        return object.object_bytes
    return size_checked(object)


cdef bint large_protect(frame_t *object, const void *p, int access) noexcept nogil:
    cdef uint16_t before
    cdef bint done
    lock_take(&object.account.lock)
    check_pointer(object, p)
    before = object.access
    object.access = <uint16_t>access
    done = heaplock_settle(object) == ERROR_NONE
    if not done:
        object.access = before
    lock_drop(&object.account.lock)
    return done


cdef void large_retire(large_pool_t *pool, frame_t *object) noexcept nogil:
    chunk_frame(object.chunk_first).chunk_used = 0
    pool.live_committed -= object.piece_bytes
    pool_put(pool, object)
    object = warmed(pool, object)
    if object != NULL:
        object = quarantined(pool, object)
    if object != NULL:
        pool_link(pool, object)


cdef bint is_for_the_kernel(const large_pool_t *pool, const frame_t *object) noexcept nogil:
    """Whether it is too big to keep, and the kernel zeroes its pages as it takes them back. Wiping would first have to
    get every page that was never touched, and there may be none."""
    return (object.piece_bytes > pool.retain and object.account.backend == BACKEND_SECRETMEM
            and not object.care & CARE_FLUSH)


cdef bint is_for_reuse(const large_pool_t *pool, const frame_t *object) noexcept nogil:
    """Whether it stays open when it is freed. All that are open together are within `retain`."""
    if pool.warm_places == 0 or account_is_locked(object.account):
        return False
    if object.piece_bytes > pool.retain // pool.warm_places:
        return False
    return object.shape == SHAPE_ARRAY or object.shape == SHAPE_PLAIN and object.piece_bytes <= WARM_LARGE_BYTES_MAX


cdef void free_closed(large_pool_t *pool, frame_t *object) noexcept nogil:
    """What cannot be opened cannot be looked at: it is unmapped unseen, and the kernel zeroes its pages. Lock held."""
    pool.live -= 1
    pool.live_bytes -= object.object_bytes
    pool.live_committed -= object.piece_bytes
    chunk_frame(object.chunk_first).chunk_used = 0
    if chunk_release(object) != ERROR_NONE:
        fatal_error("protection cannot be changed")


cdef void large_free(large_pool_t *pool, frame_t *object, const void *p) noexcept nogil:
    cdef account_t *account = object.account
    cdef size_t size, piece
    cdef bint stays_warm
    lock_take(&account.lock)
    check_pointer(object, p)
    if object.access != ACCESS_READ_WRITE or account_is_locked(account):
        if heaplock_expose(object) != ERROR_NONE:
            free_closed(pool, object)
            lock_drop(&account.lock)
            return
        object.access = ACCESS_READ_WRITE
    size = size_checked(object)
    stays_warm = is_for_reuse(pool, object)
    frame_mark(object, KIND_LARGE_FREE)
    pool.live -= 1
    pool.live_bytes -= size
    if is_for_the_kernel(pool, object):
        piece = object.piece_bytes
        if chunk_release(object) == ERROR_NONE:
            pool.live_committed -= piece
            lock_drop(&account.lock)
            return
    lock_drop(&account.lock)

    wipe(object.start, object.piece_bytes)
    if object.care & CARE_FLUSH:
        flush_lines(object.start, object.piece_bytes)
    if not stays_warm:
        settle(object)

    lock_take(&account.lock)
    if stays_warm and account_is_locked(account):  # meanwhile
        settle(object)
    large_retire(pool, object)
    large_drop(pool, pool.retain)
    lock_drop(&account.lock)


cdef void large_wipe(frame_t *object) noexcept nogil:
    wipe(large_object(object), object.object_bytes)
    if object.care & CARE_FLUSH:
        flush_lines(object.start, object.piece_bytes)


cdef void large_zero(frame_t *object) noexcept nogil:
    cdef bint closed = object.access != ACCESS_READ_WRITE or account_is_locked(object.account)
    if closed:
        expose(object)
    large_wipe(object)
    if closed:
        settle(object)


cdef bint large_is_valid(frame_t *object) noexcept nogil:
    """Whether a live object's sizes and canary are as they should be, whatever its protection. The lock is held."""
    cdef bint closed = object.access == ACCESS_NONE or account_is_locked(object.account)
    cdef size_t slack = 0 if frame_is_guarded(object) else SLACK_MIN
    cdef bint valid = object.front_bytes + object.object_bytes + slack <= object.piece_bytes
    if closed:
        expose(object)
    valid = valid and tail_is_intact(object) and front_is_intact(object)
    if closed:
        settle(object)
    return valid


cdef bint large_resize(large_pool_t *pool, frame_t *object, size_t size) noexcept nogil:
    """Change the requested size within the pages there are, if at least half of them stay in use."""
    cdef account_t *account = object.account
    cdef size_t old = object.object_bytes
    if (frame_is_guarded(object) or size > object.piece_bytes - object.front_bytes - SLACK_MIN
            or size < object.piece_bytes // 2):
        return False
    lock_take(&account.lock)  # a fork in another thread copies the object with its canary as its size says
    if size > old:
        wipe(large_object(object) + old, size - old)
    object.object_bytes = size
    pool.live_bytes += size - old
    slack_fill(object)
    lock_drop(&account.lock)
    return True
