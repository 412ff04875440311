# cython: language_level=3
"""Layer 3: objects in a heap.

Alloc takes a slot from the calling thread's cache, at random, without lock or atomic. Free, from whichever thread, sets
the slot's bit in its slab's bitmap; it is allocated again only when its word is taken again, and after the quarantine
where the heap has one::

    alloc:  bin.word --random bit--> slot        word empty: cache_refill
    free:   address -> frame record -> slot -> check, wipe -> (quarantine) -> atomic OR into the bitmap

Locks, outermost first: heaps_lock of `heaps`, a heap's lock (account.lock: its lists of caches, rings, pieces and large
objects; slow paths only), the ranges lock of `chunk`.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from secalloc_ext.cache cimport (
    HEAPS_MAX, bin_t, cache_enter, cache_flush, cache_leave, cache_refill, cache_t, caches_tidy, heap_t)
from secalloc_ext.chunk cimport chunk_metadata, reservation
from secalloc_ext.frame cimport (
    CARE_QUARANTINE, KIND_INHERITED, KIND_LARGE, KIND_LARGE_FREE, KIND_SLAB, KIND_SLAB_LOCKED, KIND_UNUSED,
    SHAPE_ARRAY, SHAPE_GUARDED, SHAPE_PLAIN, SHAPE_REVEALED, account_is_locked, frame_holds, frame_is_guarded,
    frame_is_slab, frame_kind, frame_t)
from secalloc_ext.heaplock cimport (
    heaplock_close, heaplock_enter, heaplock_leave, heaplock_open, heaplock_peek, heaplock_unpeek, heaplock_unpin)
from secalloc_ext.large cimport (
    large_alloc, large_cool, large_free, large_object, large_protect, large_resize, large_size, large_zero)
from secalloc_ext.mapping cimport mapping_random
from secalloc_ext.prefault cimport prefault_settle
from secalloc_ext.prim cimport (
    ERROR_HEAP_LIMIT, ERROR_INHERITED, ERROR_LOCKED, ERROR_MEMORY, ERROR_NONE, ERROR_SIZE, FRAME_SHIFT, LINE_BYTES,
    PAGE_BYTES, SLACK_MIN, atomic_add_relaxed, atomic_load_16_relaxed, atomic_load_32_relaxed, atomic_load_acquire,
    atomic_load_pointer, atomic_store_16_relaxed, atomic_store_32_relaxed, atomic_store_pointer, bits_first,
    fatal_error, likely, lock_drop, lock_take, prefetch, rotate_right, unlikely, wipe)
from secalloc_ext.quarantine cimport quarantine_pass
from secalloc_ext.revealpages cimport reveal_drop
from secalloc_ext.rng cimport rng_byte, rng_fill, rng_is_ready
from secalloc_ext.sizeclass cimport BIN_COUNT, CLASS_COUNT, SMALL_BYTES_MAX, class_of_size
from secalloc_ext.slot cimport (
    STATE_LIVE, STATE_SIZE, canary_fill, slot_close, slot_close_common, slot_flush, slot_give, slot_index,
    slot_is_common, slot_is_zero, slot_open, slot_open_common, slot_size, slot_zero)
from secalloc_ext.upkeep cimport TIDY_WORDS, upkeep_reclaim

cdef extern from *:
    """
    #include <pthread.h>
    enum { HEAPS = 256 };
    typedef struct {
        void *caches[HEAPS + 1];   /* cache_t *, by heap_t.route; the last stays empty for ever */
        uint32_t openings[HEAPS];  /* blocks that let this thread into a locked heap, by heap_t.index */
    } thread_t;
    /* Of a thread that has allocated nothing yet. */
    static thread_t nobody;
    /* The only copies in the process: this file is one extension module. */
    static _Thread_local __attribute__((tls_model("initial-exec"))) thread_t *secalloc_thread = &nobody;
    static _Thread_local __attribute__((tls_model("initial-exec"))) int secalloc_error = 0;
    static inline void thread_set(thread_t *thread) { secalloc_thread = thread; }
    /* For C as well: what malloc's contract calls for. */
    static inline void error_set(int error)
    {
        secalloc_error = error;
        if (error != ERROR_NONE)
            errno = error == ERROR_MEMLOCK ? EAGAIN : ENOMEM;
    }
    """
    ctypedef struct thread_t:
        void **caches
        uint32_t *openings
    thread_t nobody
    thread_t *secalloc_thread      # never NULL, nor is one of its caches: the common path asks for neither
    int secalloc_error             # of the thread's last failed allocation
    void thread_set(thread_t *thread) nogil
    void error_set(int error) nogil
    ctypedef unsigned pthread_key_t
    int pthread_key_create(pthread_key_t *key, void (*destructor)(void *) noexcept) nogil
    int pthread_setspecific(pthread_key_t key, const void *value) nogil

cdef pthread_key_t thread_key
cdef bint thread_key_is_made = False
cdef uint8_t *base = NULL            # of the reservation, which does not move; at hand here for the sake of heap_free
cdef frame_t *frames = NULL
cdef cache_t no_cache                # empty, and it stays so: of a thread that has none in a heap
thread_clear(&nobody)


# --- threads ----------------------------------------------------------------------------------------------------------

cdef void thread_clear(thread_t *thread) noexcept nogil:
    cdef size_t i
    for i in range(HEAPS_MAX + 1):
        thread.caches[i] = &no_cache


cdef inline cache_t *cache_here(const thread_t *thread, size_t index) noexcept nogil:
    """The thread's cache in a heap, or NULL."""
    cdef cache_t *cache = <cache_t *>thread.caches[index]
    return cache if cache != &no_cache else NULL


cdef int heap_error() noexcept nogil:
    return secalloc_error


cdef void heap_error_set(int error) noexcept nogil:
    """As an allocation of this thread would have failed."""
    error_set(error)


cdef void thread_exit(void *value) noexcept nogil:
    """Leave this thread's caches to the next that comes, and end the blocks that it is still in."""
    cdef thread_t *thread = <thread_t *>value
    cdef cache_t *cache
    cdef size_t i
    thread_set(&nobody)
    for i in range(HEAPS_MAX):
        cache = cache_here(thread, i)
        if cache != NULL:
            lock_take(&cache.heap.account.lock)
            if thread.openings[i] > 0:
                heaplock_leave(&cache.heap.account, False)
            cache_flush(cache)
            cache_leave(cache)
            lock_drop(&cache.heap.account.lock)
    free(thread)


cdef int heap_threads_init() noexcept nogil:
    """Before the first thread_open; again where what comes after it in the start of a process failed."""
    global thread_key_is_made, base, frames
    base = reservation.base
    frames = reservation.frames
    if not thread_key_is_made and pthread_key_create(&thread_key, thread_exit) != 0:
        return ERROR_MEMORY
    thread_key_is_made = True
    return ERROR_NONE


cdef thread_t *thread_open() noexcept nogil:
    """This thread's record; NULL with secalloc_error set."""
    cdef thread_t *thread = secalloc_thread
    if thread == &nobody:
        thread = <thread_t *>calloc(1, sizeof(thread_t))
        if thread == NULL or pthread_setspecific(thread_key, thread) != 0:
            free(thread)
            error_set(ERROR_MEMORY)
            return NULL
        thread_clear(thread)
        thread_set(thread)
    return thread


cdef cache_t *cache_new(heap_t *heap) noexcept nogil:
    """Metadata is never given back: it is asked for when nothing else can fail. The heap's lock is held."""
    cdef uint32_t[8] key
    cdef cache_t *cache = NULL
    cdef int error = mapping_random(key, sizeof(key))
    if error == ERROR_NONE:
        cache = <cache_t *>chunk_metadata(sizeof(cache_t), &error)
    if cache == NULL:
        error_set(error)
    else:
        memcpy(cache.rng.key, key, sizeof(key))
        rng_fill(&cache.rng)
        cache.heap = heap
        cache.next = heap.caches
        heap.caches = cache
    wipe(key, sizeof(key))
    return cache


cdef cache_t *cache_open(heap_t *heap) noexcept nogil:
    """This thread's cache in `heap`: an idle one adopted, or a new one. NULL with secalloc_error set."""
    cdef thread_t *thread = thread_open()
    cdef cache_t *cache
    if thread == NULL or cache_here(thread, heap.index) != NULL:
        return NULL if thread == NULL else cache_here(thread, heap.index)
    lock_take(&heap.account.lock)
    cache = heap.idle
    if cache != NULL:
        heap.idle = cache.next_idle
    else:
        cache = cache_new(heap)
    if cache != NULL:
        cache_enter(cache, thread)
    lock_drop(&heap.account.lock)
    if cache != NULL:
        thread.caches[heap.index] = cache
    return cache


cdef cache_t *heap_thread_after_fork(heap_t *heap) noexcept nogil:
    """In a child: the cache of the one thread there is; NULL where it has none. Its blocks go on, no others."""
    cdef thread_t *thread = secalloc_thread
    heap.account.openings = thread.openings[heap.index] > 0
    return cache_here(thread, heap.index)


# --- the lock of a heap -----------------------------------------------------------------------------------------------

cdef bint heap_lets_in(const heap_t *heap) noexcept nogil:
    """Whether this thread may touch the heap's objects."""
    cdef const thread_t *thread = secalloc_thread
    return not account_is_locked(&heap.account) or thread.openings[heap.index] > 0


cdef int heap_lock(heap_t *heap, bint close) noexcept nogil:
    """Close the heap to all threads, or open it to all. No other thread may be about to use it."""
    cdef int error = ERROR_NONE
    prefault_settle(&heap.pieces)
    if close:
        large_cool(&heap.large)
        reveal_drop(&heap.revealed, &heap.large)
        error = heaplock_close(&heap.account)
    else:
        error = heaplock_open(&heap.account)
    atomic_store_32_relaxed(&heap.route, HEAPS_MAX if account_is_locked(&heap.account) else heap.index)
    lock_drop(&heap.account.lock)
    return error


cdef int heap_enter(heap_t *heap) noexcept nogil:
    """Let this thread in until heap_leave, or its exit. Nests."""
    cdef thread_t *thread
    cdef int error = ERROR_NONE
    if cache_open(heap) == NULL:  # by which the thread's exit finds the heap
        return secalloc_error
    thread = secalloc_thread
    lock_take(&heap.account.lock)
    if thread.openings[heap.index] == 0:
        error = heaplock_enter(&heap.account)
    if error == ERROR_NONE:
        thread.openings[heap.index] += 1
    lock_drop(&heap.account.lock)
    return error


cdef bint heap_leave(heap_t *heap, bint pin) noexcept nogil:
    """End what heap_enter began; with `pin` the pages stay open until heap_unpin. False in a thread that is not in."""
    cdef thread_t *thread = secalloc_thread
    if thread.openings[heap.index] == 0:
        return False
    lock_take(&heap.account.lock)
    thread.openings[heap.index] -= 1
    if thread.openings[heap.index] == 0:
        heaplock_leave(&heap.account, pin)
    lock_drop(&heap.account.lock)
    return True


cdef void heap_unpin(heap_t *heap) noexcept nogil:
    lock_take(&heap.account.lock)
    heaplock_unpin(&heap.account)
    lock_drop(&heap.account.lock)


# --- alloc ------------------------------------------------------------------------------------------------------------

cdef inline unsigned bin_choose(cache_t *cache, bin_t *bin) noexcept nogil:
    """Take one of the bin's slots, at random; the bin is not empty."""
    cdef unsigned turn = rng_byte(&cache.rng)
    cdef unsigned bit = (bits_first(rotate_right(bin.word, turn)) + turn) & 63
    bin.word &= ~(<uint64_t>1 << bit)
    return bit


cdef void *open_uncommon(cache_t *cache, uint8_t *slot, uint16_t *state, uint64_t secret, size_t slot_bytes,
                         size_t size) noexcept nogil:
    return slot_open(slot, state, secret, slot_bytes, size,
                     slot_is_zero(slot, slot_bytes, cache.heap.account.verify_whole, &cache.rng))


cdef inline void *bin_pop(cache_t *cache, bin_t *bin, size_t size) noexcept nogil:
    """An object in one of the bin's slots, which are not all gone."""
    cdef unsigned bit = bin_choose(cache, bin)
    cdef uint32_t slot_bytes = bin.slot_bytes
    cdef uint8_t *slot = bin.base + bit * <size_t>slot_bytes
    if likely(slot_is_common(slot_bytes, size)):
        return slot_open_common(slot, bin.states + bit, bin.canary, slot_bytes, size)
    return open_uncommon(cache, slot, bin.states + bit, bin.canary, slot_bytes, size)


cdef void trim_others(heap_t *heap) noexcept nogil:
    """The system's limits are for all heaps: what the others keep for reuse must not starve this one."""
    cdef heap_t *other = <heap_t *>atomic_load_pointer(<void **>&heap.next_heap)
    while other != heap:
        heap_trim(other)
        other = <heap_t *>atomic_load_pointer(<void **>&other.next_heap)


cdef void make_room(heap_t *heap, cache_t *cache, size_t keep, int error) noexcept nogil:
    """After an allocation that failed with `error`: give up what is kept for reuse, this thread's slabs of other
    classes included, but for `keep` bytes that can become slabs."""
    upkeep_reclaim(heap, cache, keep, False)
    if error != ERROR_HEAP_LIMIT:  # of which other heaps have no part
        trim_others(heap)


cdef void *alloc_slow(heap_t *heap, size_t alignment, size_t size, size_t bin_index, int shape) noexcept nogil:
    """No cache, an empty bin or a large object."""
    cdef cache_t *cache
    cdef frame_t *object
    cdef int error = ERROR_NONE
    if not heap_lets_in(heap):
        error_set(ERROR_LOCKED)
        return NULL
    cache = cache_open(heap)
    if cache == NULL:
        return NULL
    if bin_index < BIN_COUNT:
        if cache.bins[bin_index].word == 0 and not cache_refill(cache, bin_index, &error):
            make_room(heap, cache, heap.retain, error)
            if not cache_refill(cache, bin_index, &error):
                error_set(error)
                return NULL
        return bin_pop(cache, &cache.bins[bin_index], size)
    object = large_alloc(&heap.large, &heap.account, &cache.rng, size, alignment, shape, &error)
    if object == NULL and error != ERROR_SIZE:
        make_room(heap, cache, 0, error)
        object = large_alloc(&heap.large, &heap.account, &cache.rng, size, alignment, shape, &error)
    if object == NULL:
        error_set(error)
        return NULL
    return large_object(object)


cdef void *heap_alloc(heap_t *heap, size_t size, bint lined) noexcept nogil:
    """A zeroed object of `size` bytes, aligned to 16, or, `lined` for array data, to a cache line. Any thread."""
    cdef cache_t *cache
    cdef bin_t *bin
    cdef size_t bin_index
    if unlikely(size > SMALL_BYTES_MAX):
        return alloc_slow(heap, LINE_BYTES, size, BIN_COUNT, SHAPE_ARRAY if lined else SHAPE_PLAIN)
    bin_index = class_of_size(size) + (CLASS_COUNT if lined else 0)
    cache = <cache_t *>secalloc_thread.caches[atomic_load_32_relaxed(&heap.route)]
    bin = &cache.bins[bin_index]
    if unlikely(bin.word == 0 or not rng_is_ready(&cache.rng)):
        return alloc_slow(heap, PAGE_BYTES, size, bin_index, SHAPE_PLAIN)
    return bin_pop(cache, bin, size)


cdef void *heap_alloc_aligned(heap_t *heap, size_t alignment, size_t size) noexcept nogil:
    """The same at a multiple of `alignment`, a power of two (ERROR_SIZE otherwise)."""
    if alignment == 0 or alignment & (alignment - 1):
        error_set(ERROR_SIZE)
        return NULL
    if alignment <= LINE_BYTES:
        return heap_alloc(heap, size, alignment > 16)
    return alloc_slow(heap, alignment, size, BIN_COUNT, SHAPE_PLAIN)


cdef void *heap_alloc_guarded(heap_t *heap, size_t size) noexcept nogil:
    """The same on pages of its own, its last byte the last before a guard page, its protection to be set."""
    return alloc_slow(heap, PAGE_BYTES, size, BIN_COUNT, SHAPE_GUARDED)


cdef void *heap_alloc_revealed(heap_t *heap, size_t size) noexcept nogil:
    """The same on pages that follow on an ordinary one. Freed by reveal_give; see `revealpages`."""
    return alloc_slow(heap, 2 * PAGE_BYTES, size, BIN_COUNT, SHAPE_REVEALED)


# --- free, size, realloc ----------------------------------------------------------------------------------------------

cdef inline frame_t *frame_at(const void *p) noexcept nogil:
    """The record of the frame in which `p` lies; ends the process for an address that was never ours."""
    cdef size_t used = atomic_load_acquire(<uint64_t *>&reservation.used)
    cdef size_t offset = <size_t>(<const uint8_t *>p - base)
    if unlikely(offset >= used):
        fatal_error("pointer was not allocated here")
    return frames + (offset >> FRAME_SHIFT)


cdef void word_came_free(frame_t *slab) noexcept nogil:
    """After a free: all slots of one bitmap word are free. The slab may have been retired since: hints only."""
    cdef cache_t *owner = <cache_t *>atomic_load_pointer(&slab.owner)
    cdef heap_t *heap = owner.heap
    atomic_store_pointer(<void **>&owner.bins[atomic_load_16_relaxed(&slab.bin)].hint, slab)
    if atomic_add_relaxed(&heap.words_freed, 1) >= TIDY_WORDS:
        lock_take(&heap.account.lock)
        caches_tidy(heap, heap.retain)
        lock_drop(&heap.account.lock)


cdef void slot_free(frame_t *slab, uint32_t index) noexcept nogil:
    """Let a closed slot be allocated again."""
    if slot_give(slab, index):
        word_came_free(slab)


cdef void free_with_care(frame_t *slab, uint32_t index) noexcept nogil:
    """A closed slot of a heap that asks for more than the common path."""
    cdef heap_t *heap = <heap_t *>slab.account
    cdef cache_t *cache
    slot_flush(slab, index)
    if slab.care & CARE_QUARANTINE:
        cache = cache_open(heap)
        if cache != NULL:
            slab = quarantine_pass(&heap.quarantine, slab, &index, rng_byte(&cache.rng))
    if slab != NULL:
        slot_free(slab, index)


cdef bint locked_open(frame_t *slab) noexcept nogil:
    """Let this thread touch a slab of a locked heap, until locked_close, which takes the answer."""
    lock_take(&slab.account.lock)
    return heaplock_peek(slab)


cdef void locked_close(frame_t *slab, bint was_open) noexcept nogil:
    heaplock_unpeek(slab, was_open)
    lock_drop(&slab.account.lock)


cdef void free_locked(frame_t *slab, const void *p) noexcept nogil:
    """A slot of a locked heap, by any thread: it is opened for that moment, and does not go into quarantine."""
    cdef uint32_t index = slot_index(slab, p)
    cdef bint was_open = locked_open(slab)
    slot_close(slab, index)
    slot_flush(slab, index)
    locked_close(slab, was_open)
    slot_free(slab, index)


cdef void free_other(frame_t *frame, const void *p) noexcept nogil:
    """What is no slot of an open heap."""
    if frame_kind(frame) == KIND_LARGE or frame_kind(frame) == KIND_LARGE_FREE:
        large_free(&(<heap_t *>frame.account).large, frame, p)
    elif frame_kind(frame) == KIND_SLAB_LOCKED:
        free_locked(frame, p)
    elif frame_kind(frame) != KIND_INHERITED:
        fatal_error("pointer was not allocated here")


cdef void close_uncommon(frame_t *slab, uint32_t index) noexcept nogil:
    slot_close(slab, index)


cdef inline void close_at_hand(frame_t *slab, uint32_t index, uint8_t *slot) noexcept nogil:
    """Check and wipe a slot."""
    cdef uint16_t *state = slab.states + index
    cdef uint32_t slot_bytes = slab.slot_bytes
    cdef unsigned live = atomic_load_16_relaxed(state)
    if likely(slot_is_common(slot_bytes, live & STATE_SIZE)):
        slot_close_common(slot, state, slab.canary, slot_bytes, live)
    else:
        close_uncommon(slab, index)


cdef void free_elsewhere(frame_t *slab, uint32_t index, uint8_t *slot) noexcept nogil:
    """A slot of any other word."""
    close_at_hand(slab, index, slot)
    if unlikely(slab.care):
        free_with_care(slab, index)
    else:
        slot_free(slab, index)


cdef void heap_free(void *p) noexcept nogil:
    """Check, wipe and give back an object of any heap. NULL is allowed. Any thread."""
    cdef frame_t *frame
    cdef uint32_t index
    cdef cache_t *owner
    cdef bin_t *bin
    if unlikely(p == NULL):
        return
    prefetch(p)  # while its records are looked up
    frame = frame_at(p)
    if unlikely(frame_kind(frame) != KIND_SLAB):
        free_other(frame, p)
        return
    index = slot_index(frame, p)
    owner = <cache_t *>atomic_load_pointer(&frame.owner)
    bin = &owner.bins[frame.bin]
    # The word that this thread allocates from at present: no atomic is needed. Only our thread changes what is current,
    # and it looks at `freed` when it does.
    if (atomic_load_pointer(<void **>&owner.thread) != secalloc_thread or bin.slab != frame
            or bin.word_index != index >> 6 or frame.care):
        free_elsewhere(frame, index, <uint8_t *>p)
        return
    bin.freed |= <uint64_t>1 << (index & 63)
    close_at_hand(frame, index, <uint8_t *>p)


cdef size_t locked_size(frame_t *slab, const void *p) noexcept nogil:
    cdef bint was_open = locked_open(slab)
    cdef size_t size = slot_size(slab, slot_index(slab, p))
    locked_close(slab, was_open)
    return size


cdef size_t heap_size(const void *p) noexcept nogil:
    """The requested size of a live object, its canary checked. 0 for NULL and for what a parent process had."""
    cdef frame_t *frame
    if p == NULL:
        return 0
    frame = frame_at(p)
    if frame_kind(frame) == KIND_SLAB:
        return slot_size(frame, slot_index(frame, p))
    if frame_kind(frame) == KIND_SLAB_LOCKED:
        return locked_size(frame, p)
    if frame_kind(frame) == KIND_LARGE or frame_kind(frame) == KIND_LARGE_FREE:
        return large_size(frame, p)
    if frame_kind(frame) != KIND_INHERITED:
        fatal_error("pointer was not allocated here")
    return 0


cdef bint heap_protect(void *p, int access) noexcept nogil:
    """Set what the pages of a guarded object allow. False where the kernel has no map entry left for it."""
    cdef frame_t *frame = frame_at(p)
    if frame_kind(frame) == KIND_INHERITED:
        return True
    if frame_kind(frame) not in (KIND_LARGE, KIND_LARGE_FREE) or not frame_is_guarded(frame):
        fatal_error("protection of an object that is not guarded")
    return large_protect(frame, p, access)


cdef void heap_zero(void *p) noexcept nogil:
    """Zero the bytes of one live object, whatever its protection. It stays."""
    cdef frame_t *frame = frame_at(p)
    cdef uint32_t index
    cdef bint was_open
    if frame_kind(frame) == KIND_SLAB:
        slot_zero(frame, slot_index(frame, p))
    elif frame_kind(frame) == KIND_SLAB_LOCKED:
        index = slot_index(frame, p)
        was_open = locked_open(frame)
        slot_zero(frame, index)
        locked_close(frame, was_open)
    elif frame_kind(frame) == KIND_LARGE:
        large_zero(frame)


cdef bint heap_owns(const void *p) noexcept nogil:
    cdef size_t reserved = atomic_load_acquire(<uint64_t *>&reservation.bytes)
    return <size_t>(<const uint8_t *>p - reservation.base) < reserved


cdef heap_t *heap_around(const void *p) noexcept nogil:
    """The heap that has pages mapped at an address, be it inside an object; NULL where none of this process has."""
    cdef size_t used = atomic_load_acquire(<uint64_t *>&reservation.used)
    cdef size_t offset = <size_t>(<const uint8_t *>p - reservation.base)
    cdef frame_t *frame = reservation.frames + (offset >> FRAME_SHIFT)
    if offset >= used:
        return NULL
    while frame_kind(frame) == KIND_UNUSED and frame > reservation.frames:  # the object may have begun before
        frame -= 1
    if frame_kind(frame) in (KIND_UNUSED, KIND_INHERITED) or not frame_holds(frame, p):
        return NULL
    return <heap_t *>frame.account


cdef bint slot_resize(frame_t *slab, const void *p, size_t size) noexcept nogil:
    """Change the requested size of an object within its slot, if another class would not fit better."""
    cdef uint32_t index = slot_index(slab, p)
    cdef uint8_t *slot = slab.start + index * slab.slot_bytes
    cdef size_t old = slot_size(slab, index)
    if size > slab.slot_bytes - SLACK_MIN or size < slab.slot_bytes // 2:
        return False
    if size > old:
        wipe(slot + old, size - old)
    atomic_store_16_relaxed(slab.states + index, <uint16_t>(STATE_LIVE | size))
    canary_fill(slab.canary, slot + size, slab.slot_bytes - size, size)
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
    if frame_kind(frame) == KIND_INHERITED:
        error_set(ERROR_INHERITED)
        return NULL
    if not heap_lets_in(<heap_t *>frame.account):
        error_set(ERROR_LOCKED)
        return NULL
    if frame_is_slab(frame):
        if slot_resize(frame, p, size):
            return p
    elif large_resize(&(<heap_t *>frame.account).large, frame, size):
        return p
    if frame_kind(frame) == KIND_LARGE and frame_is_guarded(frame):
        moved = heap_alloc_guarded(<heap_t *>frame.account, size)
    else:
        moved = heap_alloc(<heap_t *>frame.account, size, lined)
    if moved != NULL:
        memcpy(moved, p, old if old < size else size)
        heap_free(p)
    return moved


cdef void heap_trim(heap_t *heap) noexcept nogil:
    """Give all pages without a live object back to the kernel. Other running threads keep the slabs that they
    allocate from at present."""
    upkeep_reclaim(heap, cache_here(secalloc_thread, heap.index), 0, True)
