# cython: language_level=3
"""Layer 4: wiping what calls have left on the stack. A C function leaves its variables there, below the stack pointer,
until others are called; libraries that wipe their memory seldom wipe these.
"""
cdef extern from *:
    """
    #include <pthread.h>
    #include "prim.h"

    enum { RESIDUE_BYTES_MAX = 256 * 1024, RESIDUE_BYTES_KEPT = 16 * 1024 /* of a small stack: for what runs here */ };

    /* How much stack this thread has below `p`, without its guard page. */
    static size_t residue_room(const char *p)
    {
        pthread_attr_t attributes;
        void *lowest = NULL;
        size_t size = 0, guard = 0;
        if (pthread_getattr_np(pthread_self(), &attributes) != 0)
            return 0;
        pthread_attr_getstack(&attributes, &lowest, &size);
        pthread_attr_getguardsize(&attributes, &guard);
        pthread_attr_destroy(&attributes);
        size = (size_t)(p - (char *)lowest);
        return size > guard + RESIDUE_BYTES_KEPT ? size - guard - RESIDUE_BYTES_KEPT : 0;
    }

    __attribute__((noinline)) static size_t residue_wipe(void)
    {
        size_t size = residue_room((char *)__builtin_frame_address(0));
        if (size > RESIDUE_BYTES_MAX)
            size = RESIDUE_BYTES_MAX;
        wipe(__builtin_alloca(size + 1), size);
        return size;
    }
    """
    size_t residue_wipe() noexcept nogil


def wipe_stack():
    """Wipe up to 256 KiB of this thread's stack that calls have used which have returned. Answers how much it was.

    Notes
    -----
    Of the size of a thread's stack is left what this needs itself. In the main thread libc reads /proc/self/maps to learn
    that size.
    """
    return residue_wipe()
