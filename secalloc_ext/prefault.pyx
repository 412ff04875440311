# cython: language_level=3, cdivision=True
"""Layer 3: first touches of secret pages, made before they are needed.

The first touch of a page costs 14 to 20 us, most of it for taking the page out of the kernel's direct map. Once a heap
has grown beyond what a few secrets take, a thread touches pieces ahead of need; it ends when there is nothing more to
touch, and before a fork. A piece is *held* while it is being touched, by whoever does it: in no list, and of no use to
anybody else.

Locks: the account's guards the pieces; queue_lock, inside it, the wishes and the thread.
"""
from secalloc_ext.frame cimport account_is_locked, account_t, frame_t
from secalloc_ext.mapping cimport mapping_pause
from secalloc_ext.pieces cimport PIECE_LARGEST, pieces_give_held, pieces_grow, pieces_hold, pieces_t
from secalloc_ext.prim cimport (
    ERROR_LOCKED, ERROR_NONE, PIECE_BYTES_MAX, lock_drop, lock_init, lock_t, lock_take, touch_pages)

cdef extern from *:
    """
    #include <pthread.h>
    #include <signal.h>
    enum { STACK_BYTES = 256 * 1024 }; /* a program may have all its pages locked, mlockall(2), and stacks with them */
    /* Signals are for the program's own threads. */
    static inline int thread_start(pthread_t *thread, void *(*main)(void *))
    {
        pthread_attr_t attributes;
        sigset_t all, before;
        int error = pthread_attr_init(&attributes);
        if (error != 0)
            return error;
        error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (error == 0)
            error = pthread_create(thread, &attributes, main, NULL);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
        return error;
    }
    """
    ctypedef unsigned long pthread_t
    int thread_start(pthread_t *thread, void *(*main)(void *) noexcept nogil) nogil
    int pthread_join(pthread_t thread, void **result) nogil

cdef size_t AHEAD_FROM_BYTES = 256 << 10   # committed: about 5,000 small secrets
cdef size_t AHEAD_BYTES_MIN = 4 * PIECE_BYTES_MAX
cdef size_t AHEAD_BYTES_MAX = 8 << 20

cdef enum:
    AHEAD_SHARE = 32                       # of what is committed, between the two,
    AHEAD_SHARE_MOST = 4                   # but never more than that

cdef lock_t queue_lock
lock_init(&queue_lock)
cdef pieces_t *queue = NULL                # of heaps that wish for touched pieces
cdef pthread_t thread
cdef bint running = False                  # the thread has not decided to end
cdef bint joinable = False
cdef bint paused = False


cdef size_t ahead_bytes(const account_t *account) noexcept nogil:
    """How much the thread keeps touched."""
    cdef size_t stock = account.committed // AHEAD_SHARE
    cdef size_t most = account.committed // AHEAD_SHARE_MOST
    if stock < AHEAD_BYTES_MIN:
        stock = AHEAD_BYTES_MIN
    elif stock > AHEAD_BYTES_MAX:
        stock = AHEAD_BYTES_MAX
    return stock if stock < most else most


cdef bint prefault_has_reserve(const pieces_t *pieces) noexcept nogil:
    return pieces.ready_bytes > ahead_bytes(pieces.account)


cdef size_t missing_pieces(const pieces_t *pieces, size_t stock) noexcept nogil:
    """How many more are to be touched."""
    cdef size_t there = pieces.ready_bytes + pieces.held * PIECE_BYTES_MAX
    return (stock - there + PIECE_BYTES_MAX - 1) // PIECE_BYTES_MAX if there < stock else 0


cdef frame_t *hold(pieces_t *pieces, size_t stock, int *error) noexcept nogil:
    """A piece to touch, of a new chunk where all that are free are touched. NULL when there is nothing to do, or with
    `error` set."""
    cdef frame_t *piece = NULL
    cdef size_t missing = missing_pieces(pieces, stock)
    if account_is_locked(pieces.account):
        error[0] = ERROR_LOCKED
    elif missing > 0:
        piece = pieces_hold(pieces)
        if piece == NULL and pieces_grow(pieces, PIECE_LARGEST, PIECE_LARGEST, missing, error):
            piece = pieces_hold(pieces)
    return piece


cdef bint touch(pieces_t *pieces, frame_t *piece) noexcept nogil:
    if piece == NULL:
        return False
    touch_pages(piece.start, piece.piece_bytes)
    lock_take(&pieces.account.lock)
    pieces_give_held(pieces, piece)
    lock_drop(&pieces.account.lock)
    return True


cdef bint prefault_piece(pieces_t *pieces, size_t stock, int *error) noexcept nogil:
    """Touch one piece, if fewer than `stock` bytes are free and touched. False when there is nothing to do, or with
    `error` set. Any thread, and many at once."""
    cdef frame_t *piece
    error[0] = ERROR_NONE
    lock_take(&pieces.account.lock)
    piece = hold(pieces, stock, error)
    lock_drop(&pieces.account.lock)
    return touch(pieces, piece)


# --- the thread -------------------------------------------------------------------------------------------------------

cdef bint is_wished(const pieces_t *pieces) noexcept nogil:
    cdef bint wished
    lock_take(&queue_lock)
    wished = pieces.wished and not paused
    lock_drop(&queue_lock)
    return wished


cdef void drop_wish(pieces_t *pieces) noexcept nogil:
    """The account's lock is held: the thread is not about to hold a piece."""
    lock_take(&queue_lock)
    pieces.wished = False
    lock_drop(&queue_lock)


cdef bint fulfil(pieces_t *pieces) noexcept nogil:
    """Touch one piece of a heap that wishes for it; else the wish is gone."""
    cdef frame_t *piece = NULL
    cdef int error = ERROR_NONE
    lock_take(&pieces.account.lock)
    if is_wished(pieces):
        piece = hold(pieces, ahead_bytes(pieces.account), &error)
        # At a limit, the next wish is for when something has been released.
        pieces.ahead_below = <size_t>-1 if error == ERROR_NONE else pieces.account.committed
    if piece == NULL:
        drop_wish(pieces)
    lock_drop(&pieces.account.lock)
    return touch(pieces, piece)


cdef pieces_t *next_wish() noexcept nogil:
    """The heap to work for; NULL: the thread ends."""
    cdef pieces_t *pieces
    global queue, running
    lock_take(&queue_lock)
    pieces = queue
    if pieces != NULL:
        queue = pieces.next_wish
        pieces.queued = False
    else:
        running = False
    lock_drop(&queue_lock)
    return pieces


cdef void *work(void *_argument) noexcept nogil:
    cdef pieces_t *pieces = next_wish()
    while pieces != NULL:
        while fulfil(pieces):
            pass
        pieces = next_wish()
    return NULL


cdef void join_ended() noexcept nogil:
    """queue_lock is held, and the thread needs it no more."""
    global joinable
    if joinable:
        pthread_join(thread, NULL)
        joinable = False


cdef void forget_wishes() noexcept nogil:
    global queue
    while queue != NULL:
        queue.wished = queue.queued = False
        queue = queue.next_wish


cdef void enqueue(pieces_t *pieces) noexcept nogil:
    global queue, running, joinable
    pieces.wished = True
    if not pieces.queued:
        pieces.queued = True
        pieces.next_wish = queue
        queue = pieces
    if not running:
        join_ended()
        running = joinable = thread_start(&thread, work) == 0
        if not running:
            forget_wishes()  # there is no thread to be had; the next who wishes tries again


cdef void prefault_wish(pieces_t *pieces) noexcept nogil:
    cdef account_t *account = pieces.account
    if not pieces.ahead or account.committed < AHEAD_FROM_BYTES or account_is_locked(account):
        return
    if missing_pieces(pieces, ahead_bytes(account)) == 0:
        return
    lock_take(&queue_lock)
    if not pieces.wished and not paused and account.committed < pieces.ahead_below:
        enqueue(pieces)
    lock_drop(&queue_lock)


cdef void prefault_settle(pieces_t *pieces) noexcept nogil:
    lock_take(&pieces.account.lock)
    drop_wish(pieces)
    while pieces.held > 0:
        lock_drop(&pieces.account.lock)
        mapping_pause()
        lock_take(&pieces.account.lock)


cdef void prefault_pause() noexcept nogil:
    """End the thread: a child has none, and a program with one thread of its own is to have one when it forks."""
    global paused, joinable
    cdef bint there_is_one
    lock_take(&queue_lock)
    paused = True
    forget_wishes()
    there_is_one = joinable
    joinable = False
    lock_drop(&queue_lock)
    if there_is_one:
        pthread_join(thread, NULL)


cdef void prefault_resume() noexcept nogil:
    global paused
    lock_take(&queue_lock)
    paused = False
    lock_drop(&queue_lock)


cdef void prefault_after_fork() noexcept nogil:
    global paused
    lock_init(&queue_lock)
    paused = False
