# cython: language_level=3
"""Layer 4: wiping what calls have left in ordinary memory: their results, and what is on the stack.

A C function leaves its variables below the stack pointer until others are called; libraries that wipe their memory
seldom wipe these.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.string cimport memcpy
from secalloc_ext.prim cimport wipe
from secalloc_ext.securebytes cimport SecureBytes, securebytes_check_writable

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *o)

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


def call_into(SecureBytes to not None, function, *arguments):
    """Call a function that answers fresh bytes; have them in the first bytes of `to`, and wipe them.

    Raises
    ------
    ValueError : somebody else has the bytes as well, or they are too many
    """
    cdef bytes answer = function(*arguments)
    securebytes_check_writable(to)
    if Py_REFCNT(<PyObject *>answer) != 1:
        raise ValueError("the function's answer is somebody else's as well")
    try:
        if PyBytes_GET_SIZE(answer) > to.size:
            raise ValueError(f"{PyBytes_GET_SIZE(answer)} bytes are too many for {to.size}")
        memcpy(to.data, PyBytes_AS_STRING(answer), <size_t>PyBytes_GET_SIZE(answer))
    finally:
        wipe(PyBytes_AS_STRING(answer), <size_t>PyBytes_GET_SIZE(answer))


def wipe_stack():
    """Wipe up to 256 KiB of this thread's stack that calls have used which have returned. Answers how much it was.

    Notes
    -----
    Of the size of a thread's stack is left what this needs itself. In the main thread libc reads /proc/self/maps to
    learn that size.
    """
    return residue_wipe()
