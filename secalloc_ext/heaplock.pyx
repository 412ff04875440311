# cython: language_level=3
"""Layer 2: locking a heap as a whole, and what a piece's pages allow.

Two mechanisms with one behaviour for those who ask first (as Python's objects do): a locked heap is closed to all
threads but those inside a block that lets them in.

    protection key   the pages are under a key that every thread is denied; a block changes a register of its thread
    mprotect(2)      the pages are inaccessible; a block opens them, then to C code in other threads as well

The account's lock is held in every call but heaplock_force and heaplock_unforce, which a signal handler makes: at any
moment, so also while pages are being opened or closed one by one, and then nothing tells which are open.

Invariants
    - The protection of a mapped piece is what heaplock_settle sets, but between expose or peek and the end of that,
      and between a signal and heaplock_restore, or the next change of lock, block or protection.
    - A slab's kind is KIND_SLAB_LOCKED exactly while the account is locked.
    - `pinned` only while locked.
"""
from libc.stdint cimport uint16_t, uint32_t
from secalloc_ext.chunk cimport chunk_piece
from secalloc_ext.frame cimport (
    KIND_LARGE, KIND_LARGE_FREE, KIND_SLAB, KIND_SLAB_LOCKED, account_is_locked, account_t, frame_kind, frame_mark,
    frame_t)
from secalloc_ext.mapping cimport (
    ACCESS_NONE, ACCESS_READ_WRITE, KEY_NONE, KEY_UNASKED, mapping_key_allow, mapping_key_create, mapping_protect)
from secalloc_ext.prim cimport (
    ERROR_MAP_COUNT, ERROR_NONE, atomic_load_32_relaxed, atomic_store_32_relaxed, fatal_error)


cdef int key_of(const account_t *account) noexcept nogil:
    return <int>atomic_load_32_relaxed(<const uint32_t *>&account.key)


cdef bint is_pinned(const account_t *account) noexcept nogil:
    return atomic_load_32_relaxed(&account.pinned) != 0


cdef uint32_t openings_of(const account_t *account) noexcept nogil:
    return atomic_load_32_relaxed(&account.openings)


cdef void set_lock(account_t *account, bint locked, bint pinned) noexcept nogil:
    atomic_store_32_relaxed(&account.locked, locked)
    atomic_store_32_relaxed(&account.pinned, pinned)


cdef int heaplock_settle(frame_t *frame) noexcept nogil:
    """What the pages shall allow follows from what lies there, its own protection, and the lock."""
    cdef account_t *account = frame.account
    cdef bint closed = account_is_locked(account) and not is_pinned(account)
    cdef int key = key_of(account)
    cdef int access = ACCESS_READ_WRITE
    if frame_kind(frame) == KIND_LARGE_FREE:
        frame.access = ACCESS_NONE
    if frame_kind(frame) in (KIND_LARGE, KIND_LARGE_FREE):
        access = <int>frame.access
    if closed and key <= 0 and openings_of(account) == 0:
        access = ACCESS_NONE
    return mapping_protect(frame.start, frame.piece_bytes, access,
                           KEY_NONE if key <= 0 else key if closed else KEY_UNASKED)


cdef int heaplock_expose(frame_t *frame) noexcept nogil:
    return mapping_protect(frame.start, frame.piece_bytes, ACCESS_READ_WRITE,
                           KEY_UNASKED if key_of(frame.account) > 0 else KEY_NONE)


cdef frame_t *settle_until(account_t *account, frame_t *end) noexcept nogil:
    """Settle the pieces before `end`, or all for NULL; answers the first that could not be, or `end`."""
    cdef frame_t *frame = chunk_piece(account, NULL)
    while frame != end:
        # What is free is closed already (see large_cool), or being wiped at the moment.
        if frame_kind(frame) != KIND_LARGE_FREE and heaplock_settle(frame) != ERROR_NONE:
            return frame
        frame = chunk_piece(account, frame)
    return end


cdef void settle_all(account_t *account) noexcept nogil:
    if settle_until(account, NULL) != NULL:
        fatal_error("protection cannot be changed")


cdef void settle_back(account_t *account, frame_t *end) noexcept nogil:
    """The account is again as it was when all was settled, before that failed at `end`."""
    if settle_until(account, end) != end:
        fatal_error("protection cannot be changed")


cdef void ask_for_key(account_t *account) noexcept nogil:
    if key_of(account) == KEY_UNASKED:
        atomic_store_32_relaxed(<uint32_t *>&account.key, <uint32_t>mapping_key_create())


cdef void mark_slabs(account_t *account, uint16_t kind, uint16_t becomes) noexcept nogil:
    cdef frame_t *frame = chunk_piece(account, NULL)
    while frame != NULL:
        if frame_kind(frame) == kind:
            frame_mark(frame, becomes)
        frame = chunk_piece(account, frame)


cdef int heaplock_close(account_t *account) noexcept nogil:
    cdef frame_t *failed
    if account_is_locked(account):
        return ERROR_NONE
    ask_for_key(account)
    set_lock(account, True, False)
    mark_slabs(account, KIND_SLAB, KIND_SLAB_LOCKED)
    failed = settle_until(account, NULL)
    if failed == NULL:
        return ERROR_NONE
    set_lock(account, False, False)
    settle_back(account, failed)
    mark_slabs(account, KIND_SLAB_LOCKED, KIND_SLAB)
    return ERROR_MAP_COUNT


cdef int heaplock_open(account_t *account) noexcept nogil:
    cdef frame_t *failed
    cdef bint pinned = is_pinned(account)
    if not account_is_locked(account):
        return ERROR_NONE
    set_lock(account, False, False)
    failed = settle_until(account, NULL)
    if failed == NULL:
        mark_slabs(account, KIND_SLAB_LOCKED, KIND_SLAB)
        return ERROR_NONE
    set_lock(account, True, pinned)
    settle_back(account, failed)
    return ERROR_MAP_COUNT


cdef int heaplock_enter(account_t *account) noexcept nogil:
    """The thread's first block begins; blocks in it are the caller's to count."""
    cdef frame_t *failed = NULL
    ask_for_key(account)
    atomic_store_32_relaxed(&account.openings, account.openings + 1)
    if key_of(account) > 0:
        mapping_key_allow(key_of(account), True)
    elif openings_of(account) == 1 and account_is_locked(account) and not is_pinned(account):
        failed = settle_until(account, NULL)
        if failed != NULL:
            atomic_store_32_relaxed(&account.openings, 0)
            settle_back(account, failed)
    return ERROR_NONE if failed == NULL else ERROR_MAP_COUNT


cdef void heaplock_leave(account_t *account, bint pin) noexcept nogil:
    """The thread's last block ends."""
    atomic_store_32_relaxed(&account.openings, account.openings - 1)
    if key_of(account) > 0:
        mapping_key_allow(key_of(account), False)
    if account_is_locked(account) and pin and not is_pinned(account):
        atomic_store_32_relaxed(&account.pinned, True)
    elif not account_is_locked(account) or is_pinned(account) or key_of(account) > 0 or openings_of(account) > 0:
        return
    settle_all(account)


cdef void heaplock_unpin(account_t *account) noexcept nogil:
    if is_pinned(account):
        atomic_store_32_relaxed(&account.pinned, False)
        settle_all(account)


cdef bint heaplock_peek(frame_t *frame) noexcept nogil:
    cdef account_t *account = frame.account
    if not account_is_locked(account) or is_pinned(account):
        return True
    if key_of(account) > 0:
        return mapping_key_allow(key_of(account), True)
    if openings_of(account) == 0 and heaplock_expose(frame) != ERROR_NONE:
        fatal_error("protection cannot be changed")
    return True


cdef void heaplock_unpeek(frame_t *frame, bint before) noexcept nogil:
    cdef account_t *account = frame.account
    if not account_is_locked(account) or is_pinned(account):
        return
    if key_of(account) > 0:
        if not before:
            mapping_key_allow(key_of(account), False)
    elif openings_of(account) == 0 and heaplock_settle(frame) != ERROR_NONE:
        fatal_error("protection cannot be changed")


cdef bint is_forced(const frame_t *frame) noexcept nogil:
    """Whether its pages may be closed by mprotect(2)."""
    return frame_kind(frame) == KIND_LARGE or key_of(frame.account) == KEY_NONE


cdef bint heaplock_force(frame_t *frame) noexcept nogil:
    cdef bint allowed = True
    if key_of(frame.account) > 0:
        allowed = mapping_key_allow(key_of(frame.account), True)
    if is_forced(frame) and heaplock_expose(frame) != ERROR_NONE:
        fatal_error("protection cannot be changed")
    return allowed


cdef void heaplock_unforce(frame_t *frame, bint before) noexcept nogil:
    if not before:
        mapping_key_allow(key_of(frame.account), False)


cdef void heaplock_restore(account_t *account) noexcept nogil:
    cdef frame_t *frame = chunk_piece(account, NULL)
    while frame != NULL:
        if is_forced(frame) and frame_kind(frame) != KIND_LARGE_FREE and heaplock_settle(frame) != ERROR_NONE:
            fatal_error("protection cannot be changed")
        frame = chunk_piece(account, frame)
