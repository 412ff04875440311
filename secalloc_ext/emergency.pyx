# cython: language_level=3
"""Layer 3: emergency wipe, at chosen signals and at exit.

A handler wipes every heap, then lets happen what would have happened without it: it calls the handler that was there
before, or takes the default action, so that the parent sees the same. SIGKILL is the kernel's: it zeroes secret pages
before anybody else gets them.

Everything in `wipe_then` is async-signal-safe: plain stores, mprotect(2), sigaction(2), raise(3).
"""
from libc.signal cimport raise_
from libc.stdlib cimport atexit
from libc.string cimport memset
from posix.signal cimport SA_NODEFER, SA_SIGINFO, sigaction, sigaction_t, sigemptyset, siginfo_t
from secalloc_ext.heaps cimport heap_wipe_all

cdef extern from *:
    """
    #include <signal.h>
    /* Runs the handler that was there before. 0 where that was the default action, which is the caller's to take. */
    static inline int handler_run(const struct sigaction *before, int number, siginfo_t *info, void *context)
    {
        if (before->sa_flags & SA_SIGINFO)
            before->sa_sigaction(number, info, context);
        else if (before->sa_handler == SIG_DFL)
            return 0;
        else if (before->sa_handler != SIG_IGN)
            before->sa_handler(number);
        return 1;
    }
    """
    bint handler_run(const sigaction_t *before, int number, siginfo_t *info, void *context) nogil

cdef enum:
    SIGNALS_MAX = 65

cdef sigaction_t[SIGNALS_MAX] previous
cdef bint[SIGNALS_MAX] installed
cdef bint at_exit = False


cdef void wipe_then(int number, siginfo_t *info, void *context) noexcept nogil:
    heap_wipe_all()
    if not handler_run(&previous[number], number, info, context):
        sigaction(number, &previous[number], NULL)
        raise_(number)


cdef int emergency_on_signal(int number) noexcept nogil:
    cdef sigaction_t action
    if 0 < number < SIGNALS_MAX and installed[number]:
        return 0
    memset(&action, 0, sizeof(action))
    sigemptyset(&action.sa_mask)
    action.sa_sigaction = wipe_then
    action.sa_flags = SA_SIGINFO | SA_NODEFER  # so that the default action can be taken from within
    if number <= 0 or number >= SIGNALS_MAX or sigaction(number, NULL, &previous[number]) != 0:
        return -1
    if sigaction(number, &action, NULL) != 0:
        return -1
    installed[number] = True
    return 0


cdef int emergency_at_exit() noexcept nogil:
    global at_exit
    if not at_exit and atexit(heap_wipe_all) != 0:
        return -1
    at_exit = True
    return 0
