# cython: language_level=3
"""Layer 3: emergency wipe, at chosen signals and at exit.

A handler wipes every heap, then lets happen what would have happened without it, so that the parent sees the same.
SIGKILL is the kernel's: it zeroes secret pages before anybody else gets them.

Everything in `wipe_then` is async-signal-safe: plain stores, mprotect(2), sigaction(2), raise(3).
"""
from libc.errno cimport EINVAL
from libc.stdlib cimport atexit
from posix.signal cimport siginfo_t
from secalloc_ext.heaps cimport heap_wipe_all
from secalloc_ext.prim cimport errno_set
from secalloc_ext.signals cimport handler_chain, handler_install, handler_t

cdef enum:
    SIGNALS_MAX = 65

cdef handler_t[SIGNALS_MAX] handlers
cdef bint at_exit = False


cdef void wipe_then(int number, siginfo_t *info, void *context) noexcept nogil:
    heap_wipe_all()
    handler_chain(&handlers[number].before, number, info, context)


cdef int emergency_on_signal(int number) noexcept nogil:
    if number <= 0 or number >= SIGNALS_MAX:
        errno_set(EINVAL)
        return -1
    return handler_install(&handlers[number], number, wipe_then)


cdef int emergency_at_exit() noexcept nogil:
    global at_exit
    if not at_exit and atexit(heap_wipe_all) != 0:
        return -1
    at_exit = True
    return 0
