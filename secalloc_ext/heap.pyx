# cython: language_level=3
"""Layer 3: heaps.

Alloc takes a slot from the calling thread's cache, at random, without lock or atomic. Free, from whichever thread, sets
the slot's bit in its slab's bitmap; it is allocated again only when its word is taken again: that is the quarantine::

    alloc:  bin.word --random bit--> slot        word empty: cache_refill
    free:   address -> frame record -> slot -> check, wipe -> atomic OR into the bitmap

Locks, outermost first: heaps_lock (creation and closing), a heap's lock (account.lock: its lists of caches, rings,
pieces and large objects; slow paths only), the ranges lock of `chunk`.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from secalloc_ext.cache cimport (
    HEAPS_MAX, ON_FORK_COPY, ON_FORK_ISOLATE, bin_t, cache_flush, cache_refill, cache_t, caches_tidy, heap_t)
from secalloc_ext.fork cimport fork_adopt, fork_discard, fork_isolate, fork_shadow
from secalloc_ext.chunk cimport (
    KIND_INHERITED, KIND_LARGE, KIND_LARGE_FREE, KIND_SLAB, chunk_close_all, chunk_init, chunk_lock, chunk_metadata,
    frame_t, reservation)
from secalloc_ext.large cimport (
    large_alloc, large_drop, large_free, large_object, large_protect, large_resize, large_size,
    large_zero)
from secalloc_ext.mapping cimport BACKEND_SECRETMEM, mapping_at_fork, mapping_random
from secalloc_ext.prim cimport (
    ERROR_ADDRESS_SPACE, ERROR_HEAPS, ERROR_INHERITED, ERROR_NONE, ERROR_OTHER, ERROR_SIZE, FRAME_SHIFT, LINE_BYTES,
    PAGE_BYTES, SLACK_MIN, atomic_add_relaxed, atomic_load_pointer, atomic_load_relaxed, atomic_store_pointer,
    atomic_store_relaxed, bits_first, fatal_error, likely, lock_drop, lock_init, lock_t, lock_take, rotate_right,
    state_store, unlikely, wipe)
from secalloc_ext.rng cimport rng_byte, rng_fill
from secalloc_ext.sizeclass cimport BIN_COUNT, CLASS_COUNT, SMALL_BYTES_MAX, class_of_size
from secalloc_ext.slot cimport STATE_LIVE, canary_fill, slot_close, slot_index, slot_open, slot_size, slot_zero

cdef enum:
    TIDY_WORDS = 4096                # words that come free between two tidyings

cdef struct thread_t:
    cache_t *caches[HEAPS_MAX]

cdef extern from *:
    """
    #include <pthread.h>
    /* The only copies in the process: this file is one extension module. */
    static _Thread_local __attribute__((tls_model("initial-exec"))) void *secalloc_thread = NULL;
    static _Thread_local __attribute__((tls_model("initial-exec"))) int secalloc_error = 0;
    static inline void thread_set(void *thread) { secalloc_thread = thread; }
    static inline void error_set(int error) { secalloc_error = error; }
    """
    thread_t *secalloc_thread      # NULL until the thread's first allocation
    int secalloc_error             # of the thread's last failed allocation
    void thread_set(thread_t *thread) nogil
    void error_set(int error) nogil
    ctypedef unsigned pthread_key_t
    int pthread_key_create(pthread_key_t *key, void (*destructor)(void *) noexcept) nogil
    int pthread_setspecific(pthread_key_t key, const void *value) nogil

cdef lock_t heaps_lock               # creation and closing of heaps; outermost
lock_init(&heaps_lock)
cdef heap_t[HEAPS_MAX] heaps
cdef uint32_t heaps_used = 0
cdef pthread_key_t thread_key
cdef uint64_t started = 0            # the reservation is there and the handlers are installed
cdef size_t wish_reservation = 0     # what heap_configure asked for, before the first use
cdef heap_options_t wish             # of the default heap
heap_options_init(&wish)


# --- start, threads, fork ---------------------------------------------------------------------------------------------

cdef int heap_error() noexcept nogil:
    return secalloc_error


cdef void heap_error_clear() noexcept nogil:
    error_set(ERROR_NONE)


cdef void thread_exit(void *value) noexcept nogil:
    """Leave this thread's caches to the next that comes."""
    cdef thread_t *thread = <thread_t *>value
    cdef cache_t *cache
    cdef size_t i
    thread_set(NULL)
    for i in range(HEAPS_MAX):
        cache = thread.caches[i]
        if cache != NULL:
            lock_take(&cache.heap.account.lock)
            cache_flush(cache)
            cache.next_idle = cache.heap.idle
            cache.heap.idle = cache
            lock_drop(&cache.heap.account.lock)
    free(thread)


cdef void fork_prepare() noexcept nogil:
    """Hold all locks over the fork, so that the child finds every structure whole; copy what it shall have."""
    cdef size_t i
    lock_take(&heaps_lock)
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
    lock_drop(&heaps_lock)


cdef void fork_child() noexcept nogil:
    """Nothing of the parent's is readable but the copies; nothing of ours ever lies at the addresses of the rest."""
    cdef thread_t *thread = secalloc_thread
    cdef heap_t *heap
    cdef size_t i
    chunk_close_all()
    lock_init(&heaps_lock)
    for i in range(heaps_used):
        heap = &heaps[i]
        lock_init(&heap.account.lock)
        if heap.shadowed:
            fork_adopt(heap, NULL if thread == NULL else thread.caches[i])
            heap.shadowed = False
        else:
            fork_isolate(heap)
            if thread != NULL:
                thread.caches[i] = NULL


cdef int start() noexcept nogil:
    """Once a process; heaps_lock is held."""
    cdef int error = ERROR_NONE
    if started:
        return ERROR_NONE
    error = chunk_init(wish_reservation)
    if error == ERROR_NONE and pthread_key_create(&thread_key, thread_exit) != 0:
        error = ERROR_OTHER
    if error == ERROR_NONE:
        error = mapping_at_fork(fork_prepare, fork_parent, fork_child)
    if error == ERROR_NONE:
        atomic_store_relaxed(&started, 1)
    return error


cdef cache_t *cache_open(heap_t *heap) noexcept nogil:
    """This thread's cache in `heap`: an idle one adopted, or a new one. NULL with secalloc_error set."""
    cdef thread_t *thread = secalloc_thread
    cdef cache_t *cache
    if thread == NULL:
        thread = <thread_t *>calloc(1, sizeof(thread_t))
        if thread == NULL or pthread_setspecific(thread_key, thread) != 0:
            free(thread)
            error_set(ERROR_OTHER)
            return NULL
        thread_set(thread)
    cache = thread.caches[heap.index]
    if cache != NULL:
        return cache
    lock_take(&heap.account.lock)
    cache = heap.idle
    if cache != NULL:
        heap.idle = cache.next_idle
    else:
        cache = <cache_t *>chunk_metadata(sizeof(cache_t))
        if cache == NULL or mapping_random(cache.rng.key, sizeof(cache.rng.key)) != ERROR_NONE:
            cache = NULL
            error_set(ERROR_ADDRESS_SPACE)
        else:
            rng_fill(&cache.rng)
            cache.heap = heap
            cache.next = heap.caches
            heap.caches = cache
    lock_drop(&heap.account.lock)
    thread.caches[heap.index] = cache
    return cache


# --- heaps ------------------------------------------------------------------------------------------------------------

cdef void heap_options_init(heap_options_t *options) noexcept nogil:
    """The one place of all defaults."""
    options.backend = BACKEND_SECRETMEM
    options.flags = 0
    options.limit = 0
    options.flush = False
    options.on_fork = ON_FORK_ISOLATE
    options.retain = <size_t>256 << 20


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


cdef void heap_init(heap_t *heap, uint32_t index, const heap_options_t *options) noexcept nogil:
    """A heap with nothing in it; caches of an earlier heap of this index go on to serve it."""
    if index >= heaps_used:
        lock_init(&heap.account.lock)
    heap.index = index
    heap.account.backend = options.backend
    heap.account.flags = options.flags
    heap.account.limit = options.limit
    heap.account.flush = options.flush
    heap.account.committed_peak = heap.account.committed
    heap.pieces.account = &heap.account
    heap.retain = heap.large.retain = options.retain
    heap.on_fork = options.on_fork
    heap.open = True


cdef int start_default() noexcept nogil:
    """Have the default heap at index 0, whoever comes first; heaps_lock is held."""
    cdef int error = start()
    global heaps_used
    if error == ERROR_NONE and heaps_used == 0:
        heap_init(&heaps[0], 0, &wish)
        heaps_used = 1
    return error


cdef heap_t *heap_create(const heap_options_t *options) noexcept nogil:
    cdef heap_t *heap = NULL
    cdef uint32_t i
    global heaps_used
    lock_take(&heaps_lock)
    error_set(start_default())
    if secalloc_error == ERROR_NONE:
        for i in range(1, heaps_used):           # one that was closed, and is empty by now
            if not heaps[i].open:
                heap_trim(&heaps[i])
                if heaps[i].account.committed == 0:
                    heap = &heaps[i]
                    break
        else:
            i = heaps_used
            if i < HEAPS_MAX:
                heap = &heaps[i]
        if heap == NULL:
            error_set(ERROR_HEAPS)
        else:
            heap_init(heap, i, options)
            if i == heaps_used:
                heaps_used += 1
    lock_drop(&heaps_lock)
    return heap


cdef heap_t *heap_default() noexcept nogil:
    if likely(heaps_used > 0):
        return &heaps[0]
    lock_take(&heaps_lock)
    error_set(start_default())
    lock_drop(&heaps_lock)
    return &heaps[0] if secalloc_error == ERROR_NONE else NULL


cdef void heap_close(heap_t *heap) noexcept nogil:
    heap.open = False
    heap_trim(heap)


# --- alloc ------------------------------------------------------------------------------------------------------------

cdef inline void *bin_pop(cache_t *cache, bin_t *bin, size_t size) noexcept nogil:
    """Open one of the bin's slots, chosen at random; the bin is not empty."""
    cdef unsigned turn = rng_byte(&cache.rng)
    cdef unsigned bit = (bits_first(rotate_right(bin.word, turn)) + turn) & 63
    bin.word &= ~(<uint64_t>1 << bit)
    return slot_open(bin.base + bit * <size_t>bin.slot_bytes, bin.states + bit, bin.canary, bin.slot_bytes, size)


cdef void trim_others(heap_t *heap) noexcept nogil:
    """The system's limits are for all heaps: what the others keep for reuse must not starve this one."""
    cdef size_t i
    for i in range(heaps_used):
        if &heaps[i] != heap:
            heap_trim(&heaps[i])


cdef void *alloc_slow(heap_t *heap, size_t alignment, size_t size, size_t bin_index, bint guarded) noexcept nogil:
    """No cache, an empty bin or a large object."""
    cdef cache_t *cache
    cdef frame_t *object
    if heap == NULL:
        return NULL  # heap_default has said why
    cache = cache_open(heap)
    if cache == NULL:
        return NULL
    if bin_index < BIN_COUNT:
        if cache.bins[bin_index].word == 0 and not cache_refill(cache, bin_index, &secalloc_error):
            trim_others(heap)
            if not cache_refill(cache, bin_index, &secalloc_error):
                return NULL
        return bin_pop(cache, &cache.bins[bin_index], size)
    object = large_alloc(&heap.large, &heap.account, &cache.rng, size, alignment, guarded, &secalloc_error)
    if object == NULL:
        lock_take(&heap.account.lock)
        cache_flush(cache)
        caches_tidy(heap, 0)
        lock_drop(&heap.account.lock)
        trim_others(heap)
        object = large_alloc(&heap.large, &heap.account, &cache.rng, size, alignment, guarded, &secalloc_error)
    return NULL if object == NULL else large_object(object)


cdef void *heap_alloc(heap_t *heap, size_t size, bint lined) noexcept nogil:
    """A zeroed object of `size` bytes, aligned to 16, or to a cache line if `lined`. Any thread."""
    cdef thread_t *thread = secalloc_thread
    cdef cache_t *cache
    cdef size_t bin_index
    if unlikely(size > SMALL_BYTES_MAX):
        return alloc_slow(heap, PAGE_BYTES, size, BIN_COUNT, False)
    bin_index = class_of_size(size) + (CLASS_COUNT if lined else 0)
    if likely(thread != NULL and heap != NULL):
        cache = thread.caches[heap.index]
        if likely(cache != NULL and cache.bins[bin_index].word != 0):
            return bin_pop(cache, &cache.bins[bin_index], size)
    return alloc_slow(heap, PAGE_BYTES, size, bin_index, False)


cdef void *heap_alloc_aligned(heap_t *heap, size_t alignment, size_t size) noexcept nogil:
    """The same at a multiple of `alignment`, a power of two (ERROR_SIZE otherwise)."""
    if alignment == 0 or alignment & (alignment - 1):
        error_set(ERROR_SIZE)
        return NULL
    if alignment <= LINE_BYTES:
        return heap_alloc(heap, size, alignment > 16)
    return alloc_slow(heap, alignment, size, BIN_COUNT, False)


cdef void *heap_alloc_guarded(heap_t *heap, size_t size) noexcept nogil:
    """The same on pages of its own, its last byte the last before a guard page, its protection to be set."""
    return alloc_slow(heap, PAGE_BYTES, size, BIN_COUNT, True)


# --- free, size, realloc ----------------------------------------------------------------------------------------------

cdef inline frame_t *frame_at(const void *p) noexcept nogil:
    """The record of the frame in which `p` lies; ends the process for an address that was never ours."""
    cdef size_t offset = <size_t>(<const uint8_t *>p - reservation.base)
    if unlikely(offset >= reservation.used):
        fatal_error("pointer was not allocated here")
    return reservation.frames + (offset >> FRAME_SHIFT)


cdef void word_came_free(frame_t *slab) noexcept nogil:
    """After a free: all slots of one bitmap word are free. The slab may have been retired since: hints only."""
    cdef cache_t *owner = <cache_t *>atomic_load_pointer(&slab.owner)
    cdef heap_t *heap = owner.heap
    atomic_store_pointer(<void **>&owner.bins[slab.bin].hint, slab)
    if atomic_add_relaxed(&heap.words_freed, 1) >= TIDY_WORDS:
        lock_take(&heap.account.lock)
        caches_tidy(heap, heap.retain)
        lock_drop(&heap.account.lock)


cdef void free_other(frame_t *frame, const void *p) noexcept nogil:
    """What is no slot."""
    if frame.kind == KIND_LARGE or frame.kind == KIND_LARGE_FREE:
        large_free(&(<heap_t *>frame.account).large, frame, p)
    elif frame.kind != KIND_INHERITED:
        fatal_error("pointer was not allocated here")


cdef void heap_free(void *p) noexcept nogil:
    """Check, wipe and give back an object of any heap. NULL is allowed. Any thread."""
    cdef frame_t *frame
    cdef uint32_t index
    if unlikely(p == NULL):
        return
    frame = frame_at(p)
    if unlikely(frame.kind != KIND_SLAB):
        free_other(frame, p)
        return
    index = slot_index(frame, p)
    slot_size(frame, index)
    slot_close(frame, index)
    if unlikely(atomic_load_relaxed(frame.bitmap + (index >> 6)) == <uint64_t>-1):
        word_came_free(frame)


cdef size_t heap_size(const void *p) noexcept nogil:
    """The requested size of a live object, its canary checked. 0 for NULL and for what a parent process had."""
    cdef frame_t *frame
    if p == NULL:
        return 0
    frame = frame_at(p)
    if frame.kind == KIND_SLAB:
        return slot_size(frame, slot_index(frame, p))
    if frame.kind == KIND_LARGE or frame.kind == KIND_LARGE_FREE:
        return large_size(frame, p)
    if frame.kind != KIND_INHERITED:
        fatal_error("pointer was not allocated here")
    return 0


cdef bint heap_protect(void *p, int access) noexcept nogil:
    """Set what the pages of a guarded object allow. False where the kernel has no map entry left for it."""
    cdef frame_t *frame = frame_at(p)
    if frame.kind == KIND_INHERITED:
        return True
    if frame.kind not in (KIND_LARGE, KIND_LARGE_FREE) or not frame.guarded:
        fatal_error("protection of an object that is not guarded")
    return large_protect(frame, p, access)


cdef bint heap_owns(const void *p) noexcept nogil:
    return <size_t>(<const uint8_t *>p - reservation.base) < reservation.bytes


cdef heap_t *heap_of(const void *p) noexcept nogil:
    """The heap of a live object."""
    return <heap_t *>frame_at(p).account


cdef bint slot_resize(frame_t *slab, const void *p, size_t size) noexcept nogil:
    """Change the requested size of an object within its slot, if another class would not fit better."""
    cdef uint32_t index = slot_index(slab, p)
    cdef uint8_t *slot = slab.start + index * slab.slot_bytes
    cdef size_t old = slot_size(slab, index)
    if size > slab.slot_bytes - SLACK_MIN or size < slab.slot_bytes // 2:
        return False
    if size > old:
        wipe(slot + old, size - old)
    state_store(slab.states + index, <uint16_t>(STATE_LIVE | size))
    canary_fill(slab.canary, slot + size, slot + slab.slot_bytes, size)
    return True


cdef void *heap_realloc(heap_t *heap, void *p, size_t size, bint lined) noexcept nogil:
    """Grow or shrink; new bytes are zero, a block left behind is wiped. On failure NULL, and `p` is as it was."""
    cdef frame_t *frame
    cdef size_t old
    cdef void *moved
    if p == NULL:
        return heap_alloc(heap, size, lined)
    frame = frame_at(p)
    old = heap_size(p)
    if frame.kind == KIND_INHERITED:
        error_set(ERROR_INHERITED)
        return NULL
    if frame.kind == KIND_SLAB:
        if slot_resize(frame, p, size):
            return p
    elif large_resize(&(<heap_t *>frame.account).large, frame, size):
        return p
    if frame.kind == KIND_LARGE and frame.guarded:
        moved = heap_alloc_guarded(<heap_t *>frame.account, size)
    else:
        moved = heap_alloc(<heap_t *>frame.account, size, lined)
    if moved != NULL:
        memcpy(moved, p, old if old < size else size)
        heap_free(p)
    return moved


# --- release, statistics, validity ------------------------------------------------------------------------------------

cdef void heap_wipe(heap_t *heap) noexcept nogil:
    """Zero the bytes of every live object, whatever its protection. The objects stay, and are freed as ever.

    Takes no lock, and calls nothing but mprotect(2): a signal handler may do it. What another thread allocates or
    frees in this moment may be missed.
    """
    cdef frame_t *frame = reservation.frames
    cdef frame_t *end = reservation.frames + (reservation.used >> FRAME_SHIFT)
    cdef uint32_t i
    while frame < end:
        if frame.account == &heap.account and frame.kind == KIND_SLAB:
            for i in range(frame.slots):
                slot_zero(frame, i)
        elif frame.account == &heap.account and frame.kind == KIND_LARGE:
            large_zero(frame)
        frame += 1


cdef void heap_wipe_all() noexcept nogil:
    cdef size_t i
    for i in range(heaps_used):
        heap_wipe(&heaps[i])


cdef void heap_trim(heap_t *heap) noexcept nogil:
    """Give all pages without a live object back to the kernel. Other running threads keep the slabs that they
    allocate from at present."""
    cdef thread_t *thread = secalloc_thread
    lock_take(&heap.account.lock)
    if thread != NULL and thread.caches[heap.index] != NULL:
        cache_flush(thread.caches[heap.index])
    large_drop(&heap.large, 0)
    caches_tidy(heap, 0)
    lock_drop(&heap.account.lock)
