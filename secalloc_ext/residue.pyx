# cython: language_level=3
"""Layer 4: wiping what calls have left behind: their results, what is on the stack, and in the vector registers.

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
    static _Thread_local const char *stack_lowest;
    """
    const char *stack_lowest

cdef extern from "residue.h" nogil:
    size_t residue_wipe(const char **lowest) noexcept


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


cdef size_t residue_wipe_all() noexcept:
    return residue_wipe(&stack_lowest)


def wipe_stack():
    """Wipe up to 256 KiB of this thread's stack that calls have used which have returned, and the vector registers.
    Answers how much of the stack it was.

    Notes
    -----
    Of a thread's stack is left what this needs itself.
    """
    return residue_wipe_all()
