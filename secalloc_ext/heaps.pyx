# cython: language_level=3
"""Layer 3: the table of all heaps: start-up, options, creation, and what a fork does to each.

Index 0 is the default heap, which comes into being with the first use of secret memory. A record is never given back,
but made anew for another heap when its heap is closed and empty.
"""
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset
from secalloc_ext.cache cimport HEAPS_MAX, ON_FORK_COPY, ON_FORK_ISOLATE, cache_t, heap_t
from secalloc_ext.chunk cimport chunk_close_all, chunk_init, chunk_lock
from secalloc_ext.fork cimport fork_adopt, fork_discard, fork_isolate, fork_shadow
from secalloc_ext.frame cimport CARE_FLUSH, CARE_QUARANTINE
from secalloc_ext.heap cimport (
    heap_error_set, heap_lock, heap_thread_after_fork, heap_threads_init, heap_trim)
from secalloc_ext.large cimport large_init
from secalloc_ext.mapping cimport BACKEND_SECRETMEM, mapping_at_fork
from secalloc_ext.prefault cimport prefault_after_fork, prefault_pause, prefault_resume
from secalloc_ext.prim cimport (
    ERROR_HEAPS, ERROR_NONE, ERROR_OTHER, atomic_load_32_acquire, atomic_store_32_release, atomic_store_pointer,
    likely, lock_drop, lock_init, lock_t, lock_take)
from secalloc_ext.quarantine cimport quarantine_init
from secalloc_ext.upkeep cimport upkeep_abandon, upkeep_is_abandoned, upkeep_wipe_at_once

cdef lock_t heaps_lock               # creation and closing of heaps; outermost
lock_init(&heaps_lock)
cdef heap_t[HEAPS_MAX] heaps
cdef uint32_t heaps_used = 0
cdef bint started = False            # the reservation is there
cdef size_t wish_reservation = 0     # what heap_configure asked for, before the first use
cdef heap_options_t wish             # of the default heap
heap_options_init(&wish, False)


# --- start and fork ---------------------------------------------------------------------------------------------------

cdef void fork_prepare() noexcept nogil:
    """Hold all locks over the fork, so that the child finds every structure whole; copy what it shall have."""
    cdef size_t i
    lock_take(&heaps_lock)
    prefault_pause()
    for i in range(heaps_used):
        lock_take(&heaps[i].account.lock)
    chunk_lock(True)
    for i in range(heaps_used):
        if heaps[i].on_fork == ON_FORK_COPY:
            heaps[i].shadowed = fork_shadow(&heaps[i])
            if not heaps[i].shadowed:
                fork_discard(&heaps[i])


cdef void fork_parent() noexcept nogil:
    cdef size_t i
    for i in range(heaps_used):
        if heaps[i].shadowed:
            fork_discard(&heaps[i])
            heaps[i].shadowed = False
        lock_drop(&heaps[i].account.lock)
    chunk_lock(False)
    prefault_resume()
    lock_drop(&heaps_lock)


cdef void fork_child() noexcept nogil:
    """Nothing of the parent's is readable but the copies; nothing of ours ever lies at the addresses of the rest."""
    cdef cache_t *own
    cdef heap_t *heap
    cdef size_t i
    chunk_close_all()
    prefault_after_fork()
    lock_init(&heaps_lock)
    for i in range(heaps_used):
        heap = &heaps[i]
        lock_init(&heap.account.lock)
        own = heap_thread_after_fork(heap)
        if heap.shadowed:
            fork_adopt(heap, own)
            heap.shadowed = False
        else:
            fork_isolate(heap, own)


cdef int start() noexcept nogil:
    """Once a process; heaps_lock is held."""
    cdef int error = ERROR_NONE
    global started
    if started:
        return ERROR_NONE
    error = chunk_init(wish_reservation)
    if error == ERROR_NONE:
        error = heap_threads_init()
    if error == ERROR_NONE:
        error = handlers_error
    if error == ERROR_NONE:
        started = True
    return error


# At import: a fork in one thread may meet the first use in another, which must not hold a lock then.
cdef int handlers_error = mapping_at_fork(fork_prepare, fork_parent, fork_child)


# --- heaps ------------------------------------------------------------------------------------------------------------

cdef void heap_options_init(heap_options_t *options, bint full) noexcept nogil:
    """The one place of all defaults: of hardening "fast", or "full"."""
    memset(options, 0, sizeof(options[0]))
    options.backend = BACKEND_SECRETMEM
    options.on_fork = ON_FORK_ISOLATE
    options.retain = <size_t>256 << 20
    options.ahead = True
    options.quarantine = 128 if full else 0
    options.quarantine_large = 32 if full else 4
    options.gap_frames = 15 if full else 3
    options.verify_whole = full
    options.warm_large = 0 if full else 4


cdef int heap_configure(size_t reservation_bytes, const heap_options_t *options) noexcept nogil:
    """What the default heap will be. ERROR_OTHER once secret memory is in use."""
    cdef int error = ERROR_OTHER
    global wish_reservation, wish
    lock_take(&heaps_lock)
    if not started:
        wish_reservation = reservation_bytes
        wish = options[0]
        error = ERROR_NONE
    lock_drop(&heaps_lock)
    return error


cdef void heap_set(heap_t *heap, const heap_options_t *options) noexcept nogil:
    heap.account.backend = options.backend
    heap.account.flags = options.flags
    heap.account.limit = options.limit
    heap.account.care = (CARE_FLUSH if options.flush else 0) | (CARE_QUARANTINE if options.quarantine else 0)
    heap.account.gap_frames = options.gap_frames
    heap.account.verify_whole = options.verify_whole
    heap.account.committed_peak = heap.account.committed
    heap.pieces.account = &heap.account
    heap.pieces.ahead = options.ahead
    heap.pieces.ahead_below = <size_t>-1
    heap.retain = options.retain
    heap.on_fork = options.on_fork
    memcpy(heap.name, options.name, sizeof(heap.name))
    heap.open = True


cdef int heap_init(heap_t *heap, uint32_t index, const heap_options_t *options) noexcept nogil:
    """A heap with nothing in it; caches of an earlier heap of this index go on to serve it. heaps_lock is held."""
    cdef bint fresh = index >= heaps_used
    cdef int error
    global heaps_used
    if fresh:
        lock_init(&heap.account.lock)
        heap.index = heap.route = index
    lock_take(&heap.account.lock)  # a thread in need may be trimming the closed heap that is made anew
    error = large_init(&heap.large, options.retain, options.quarantine_large, options.warm_large)
    if error == ERROR_NONE:
        error = quarantine_init(&heap.quarantine, options.quarantine)
    if error == ERROR_NONE:
        heap_set(heap, options)
    lock_drop(&heap.account.lock)
    if error == ERROR_NONE and fresh:
        atomic_store_pointer(<void **>&heap.next_heap, &heaps[0])
        if index > 0:
            atomic_store_pointer(<void **>&heaps[index - 1].next_heap, heap)
        atomic_store_32_release(&heaps_used, index + 1)
    return error


cdef int start_default() noexcept nogil:
    """Have the default heap at index 0, whoever comes first; heaps_lock is held."""
    cdef int error = start()
    return heap_init(&heaps[0], 0, &wish) if error == ERROR_NONE and heaps_used == 0 else error


cdef bint tidy_closed(heap_t *heap) noexcept nogil:
    """Give back what a closed heap can, again where the kernel refused before. True when nothing is left."""
    heap_lock(heap, False)
    heap_trim(heap)
    return upkeep_is_abandoned(heap)


cdef uint32_t unused_record() noexcept nogil:
    """The index of a heap that was closed, is empty by now, and has no thread in it; or of a new one; HEAPS_MAX when
    there is none."""
    cdef uint32_t i
    for i in range(1, heaps_used):
        if not heaps[i].open and tidy_closed(&heaps[i]):
            return i
    return heaps_used


cdef heap_t *heap_create(const heap_options_t *options) noexcept nogil:
    cdef int error
    cdef uint32_t i = 0
    lock_take(&heaps_lock)
    error = start_default()
    if error == ERROR_NONE:
        i = unused_record()
        error = ERROR_HEAPS if i == HEAPS_MAX else heap_init(&heaps[i], i, options)
    lock_drop(&heaps_lock)
    heap_error_set(error)
    return &heaps[i] if error == ERROR_NONE else NULL


cdef heap_t *heap_default() noexcept nogil:
    cdef int error
    if likely(atomic_load_32_acquire(&heaps_used) > 0):
        return &heaps[0]
    lock_take(&heaps_lock)
    error = start_default()
    lock_drop(&heaps_lock)
    heap_error_set(error)
    return &heaps[0] if error == ERROR_NONE else NULL


cdef void heap_close(heap_t *heap) noexcept nogil:
    """No thread can allocate in it from now on, so that what the others had taken is nobody's."""
    lock_take(&heaps_lock)  # nobody makes another heap of the record meanwhile
    upkeep_abandon(heap)
    tidy_closed(heap)
    heap.open = False
    lock_drop(&heaps_lock)


cdef void heap_wipe_all() noexcept nogil:
    cdef size_t i
    for i in range(atomic_load_32_acquire(&heaps_used)):
        upkeep_wipe_at_once(&heaps[i])
