# cython: language_level=3
"""Layer 4: where bytes are in a SecureBytes. What these methods answer is an ordinary int or bool.

`count` of one byte, `startswith` and `endswith` take a time that depends on sizes alone. The others are done when they
have found it.
"""
from secalloc_ext.arguments cimport slice_edge
from secalloc_ext.needle cimport find_first, find_last, needle_close, needle_open, needle_open_any, needle_t
from secalloc_ext.prim cimport bytes_equal_constant_time
from secalloc_ext.securebytes cimport SecureBytes, securebytes_add_methods, securebytes_check

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

ctypedef Py_ssize_t (*finder_t)(const unsigned char *data, Py_ssize_t size, const needle_t *needle) noexcept


cdef inline void clip(Py_ssize_t size, Py_ssize_t *start, Py_ssize_t *end) noexcept:
    """As slices do; but `start` may be beyond `size`."""
    if end[0] > size:
        end[0] = size
    elif end[0] < 0:
        end[0] = max(end[0] + size, 0)
    if start[0] < 0:
        start[0] = max(start[0] + size, 0)


cdef inline Py_ssize_t found(SecureBytes self, object sub, object start, object end, finder_t find_one) except -2:
    """Where `sub` is between `start` and `end`; -1 where it is not."""
    cdef needle_t needle
    cdef Py_ssize_t at = -1
    cdef Py_ssize_t first = slice_edge(start, 0)
    cdef Py_ssize_t last = slice_edge(end, PY_SSIZE_T_MAX)
    needle_open_any(&needle, sub)
    try:
        securebytes_check(self)
        clip(self.size, &first, &last)
        if needle.size <= last - first:
            at = find_one(self.data + first, last - first, &needle)
        return first + at if at >= 0 else -1
    finally:
        needle_close(&needle)


cdef inline Py_ssize_t found_surely(SecureBytes self, object sub, object start, object end,
                                    finder_t find_one) except -1:
    cdef Py_ssize_t at = found(self, sub, start, end, find_one)
    if at < 0:
        raise ValueError("subsection not found")
    return at


def find(SecureBytes self not None, sub, start=None, end=None, /):
    """The lowest index at which `sub` (bytes-like, or an int for one byte) is within the slice; -1 if it is not."""
    return found(self, sub, start, end, find_first)


def rfind(SecureBytes self not None, sub, start=None, end=None, /):
    """As `find`, the highest index."""
    return found(self, sub, start, end, find_last)


def index(SecureBytes self not None, sub, start=None, end=None, /):
    """As `find`; ValueError where it is not found."""
    return found_surely(self, sub, start, end, find_first)


def rindex(SecureBytes self not None, sub, start=None, end=None, /):
    """As `rfind`; ValueError where it is not found."""
    return found_surely(self, sub, start, end, find_last)


# --- how often ---

cdef Py_ssize_t occurrences(const unsigned char *data, Py_ssize_t size, const needle_t *needle) noexcept:
    cdef Py_ssize_t at, i
    cdef Py_ssize_t times = 0
    if needle.size == 0:
        return size + 1
    if needle.size == 1:
        for i in range(size):
            times += data[i] == needle.data[0]
        return times
    while True:
        at = find_first(data, size, needle)
        if at < 0:
            return times
        times += 1
        data += at + needle.size
        size -= at + needle.size


def count(SecureBytes self not None, sub, start=None, end=None, /):
    """How often `sub` is in the slice, without overlaps."""
    cdef needle_t needle
    cdef Py_ssize_t first = slice_edge(start, 0)
    cdef Py_ssize_t last = slice_edge(end, PY_SSIZE_T_MAX)
    needle_open_any(&needle, sub)
    try:
        securebytes_check(self)
        clip(self.size, &first, &last)
        return occurrences(self.data + first, last - first, &needle) if needle.size <= last - first else 0
    finally:
        needle_close(&needle)


# --- whether at an end ---

cdef int is_at_end(SecureBytes self, object part, Py_ssize_t first, Py_ssize_t last, bint behind) except -1:
    cdef needle_t needle
    needle_open(&needle, part)
    try:
        securebytes_check(self)
        clip(self.size, &first, &last)
        if needle.size > last - first:
            return False
        first = last - needle.size if behind else first
        return bytes_equal_constant_time(self.data + first, needle.data, <size_t>needle.size)
    finally:
        needle_close(&needle)


cdef bint is_any_at_end(SecureBytes self, object parts, object start, object end, bint behind) except -1:
    cdef Py_ssize_t first = slice_edge(start, 0)
    cdef Py_ssize_t last = slice_edge(end, PY_SSIZE_T_MAX)
    securebytes_check(self)
    if not isinstance(parts, tuple):
        return is_at_end(self, parts, first, last, behind)
    for part in <tuple>parts:
        if is_at_end(self, part, first, last, behind):
            return True
    return False


def startswith(SecureBytes self not None, prefix, start=None, end=None, /):
    """Whether the slice begins with `prefix`, bytes-like, or with one of a tuple of such."""
    return is_any_at_end(self, prefix, start, end, False)


def endswith(SecureBytes self not None, suffix, start=None, end=None, /):
    """Whether the slice ends with `suffix`, bytes-like, or with one of a tuple of such."""
    return is_any_at_end(self, suffix, start, end, True)


securebytes_add_methods((find, rfind, index, rindex, count, startswith, endswith))
