# cython: language_level=3
"""Layer 4: an environment variable into a SecureBytes, and out of everything else in the process.

A value is in up to four places: the block above the stack into which the kernel copied the environment at the start,
which /proc/PID/environ shows; the string to which libc's `environ` points, in that block or, once somebody has set the
variable, in libc's memory; the bytes object that `os.environ` has; and whatever anybody made of these, which is out of
reach.
"""
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.string cimport strlen, strncmp
from secalloc_ext.heap cimport heap_free
from secalloc_ext.heapobject cimport Heap
from secalloc_ext.prim cimport wipe
from secalloc_ext.securebytes cimport heap_or_default, securebytes_add_methods, securebytes_of
from secalloc_ext.sources cimport filled_t, source_buffer

cdef extern from *:
    """
    extern char **environ;
    """
    char **environ

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *o)

cdef enum:
    ENV_START = 50   # fields of /proc/PID/stat, counted from 1, by proc(5)
    ENV_END = 51


cdef object writable_ranges():
    """First and last address of all memory that may be written to: a string that putenv(3) was given need not be."""
    ranges = []
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            span, access, _ = line.split(maxsplit=2)
            if access.startswith(b"rw"):
                first, last = span.split(b"-")
                ranges.append((int(first, 16), int(last, 16)))
    return ranges


cdef bint are_writable(object ranges, size_t first, size_t size) except -1:
    for start, end in ranges:
        if start <= first and first + size <= end:
            return True
    return False


cdef tuple block_at_start():
    with open("/proc/self/stat", "rb") as stat:
        fields = stat.read().rpartition(b")")[2].split()  # from field 3 on
    return int(fields[ENV_START - 3]), int(fields[ENV_END - 3])


cdef int empty_if(char *entry, const char *name, size_t name_size, object ranges) except -1:
    """Zero the value of an entry ``name=value`` of that name. The name stays, for unsetenv(3) to find it."""
    cdef char *value = entry + name_size + 1
    if strncmp(entry, name, name_size) == 0 and entry[name_size] == b"=":
        if are_writable(ranges, <size_t>value, strlen(value)):
            wipe(value, strlen(value))
    return 0


cdef int empty_everywhere(bytes name) except -1:
    """Zero the value in libc's environment and in the block of the start, where it may be there more than once."""
    cdef char **entry = environ
    cdef size_t p, end
    ranges = writable_ranges()
    p, end = block_at_start()
    while entry != NULL and entry[0] != NULL:
        empty_if(entry[0], PyBytes_AS_STRING(name), <size_t>PyBytes_GET_SIZE(name), ranges)
        entry += 1
    if not are_writable(ranges, p, end - p):
        return 0
    while p < end:  # the block ends with a NUL
        empty_if(<char *>p, PyBytes_AS_STRING(name), <size_t>PyBytes_GET_SIZE(name), ranges)
        p += strlen(<char *>p) + 1
    return 0


cdef int wipe_if_nobody_s(bytes value) except -1:
    """Wipe what `os.environ` held, unless somebody else has it. The caller's is the one reference left."""
    if Py_REFCNT(<PyObject *>value) == 1:
        wipe(PyBytes_AS_STRING(value), <size_t>PyBytes_GET_SIZE(value))
    return 0


def from_env(name, *, bint remove=True, heap=None):
    """The value of an environment variable, which is removed and scrubbed.

    Removed from ``os.environ``, and thereby from libc's environment and from that of children started from now on;
    scrubbed in the block that ``/proc/PID/environ`` shows, where the name stays; in libc's string; and in the bytes of
    ``os.environ``, unless somebody else refers to them.

    Parameters
    ----------
    name : str or bytes
    remove : False to leave all as it is

    Raises
    ------
    KeyError : there is no such variable in ``os.environ``
    OSError : /proc, which tells where the block is, cannot be read; nothing is removed

    Notes
    -----
    Call it first thing: copies made earlier are out of reach (``dict(os.environ)``, ``os.environ[name]`` kept by
    somebody, children). The parent, a shell's history and the service manager have the value as well. A C library that
    got a pointer from getenv(3) sees an empty string.

    Thread safety: as `os.unsetenv`: no other thread may use libc's environment meanwhile.
    """
    cdef filled_t slot
    cdef Heap where = heap_or_default(heap)
    cdef bytes key = os.fsencode(name)
    cdef bytes value
    try:
        value = os.environb[key]
    except KeyError:
        raise KeyError(name) from None
    source_buffer(&slot, value, where, False)
    if remove:
        try:
            empty_everywhere(key)
            del os.environb[key]
            wipe_if_nobody_s(value)
        except BaseException:
            heap_free(slot.data)
            raise
    return securebytes_of(&slot, where, False)


securebytes_add_methods((staticmethod(from_env),))
