"""Layer 1: signal handlers behind which happens what would have happened without them: the handler that was there runs,
or the default action is taken. Async-signal-safe, but for handler_install.

The callers keep one handler_t for each signal they handle, for ever: handlers are not taken out again.
"""
from posix.signal cimport SA_NODEFER, SA_ONSTACK, SA_SIGINFO, sigaction, sigaction_t, sigemptyset, siginfo_t
from libc.string cimport memset

cdef extern from *:
    """
    #include <signal.h>
    /* A fault comes again as soon as its handler returns; and it is not ignored, whatever the process asked for. */
    static inline void handler_chain(const struct sigaction *before, int number, siginfo_t *info, void *context)
    {
        int fault = info->si_code > 0
            && (number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL);
        if (before->sa_flags & SA_SIGINFO) {
            before->sa_sigaction(number, info, context);
        } else if (before->sa_handler == SIG_DFL || (before->sa_handler == SIG_IGN && fault)) {
            signal(number, SIG_DFL);
            if (!fault)
                raise(number);
        } else if (before->sa_handler != SIG_IGN) {
            before->sa_handler(number);
        }
    }
    """
    void handler_chain(const sigaction_t *before, int number, siginfo_t *info, void *context) noexcept nogil

ctypedef void (*handler_run_t)(int number, siginfo_t *info, void *context) noexcept nogil

cdef struct handler_t:
    sigaction_t before
    bint installed


cdef inline int handler_install(handler_t *handler, int number, handler_run_t run) noexcept nogil:
    """0, or -1 with errno. Once: a second call does nothing."""
    cdef sigaction_t action
    if handler.installed:
        return 0
    memset(&action, 0, sizeof(action))
    sigemptyset(&action.sa_mask)
    action.sa_sigaction = run
    # NODEFER: so that the default action can be taken from within. ONSTACK: where the stack itself is what overflowed.
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK
    if sigaction(number, NULL, &handler.before) != 0 or sigaction(number, &action, NULL) != 0:
        return -1
    handler.installed = True
    return 0
