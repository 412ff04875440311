# cython: language_level=3
"""Layer 4: a SecureBytes in parts, each a SecureBytes of its own in the same heap.

How long it takes, and where the parts end, depends on the content. Making a part may run Python code (finalizers),
which may wipe or change `self`: nothing that was seen before it counts behind it. The size stays.
"""
from secalloc_ext.needle cimport find_first, find_last, needle_close, needle_open, needle_t
from secalloc_ext.securebytes cimport (
    SecureBytes, securebytes_add_methods, securebytes_check, securebytes_new, securebytes_part)

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

cdef extern from "search.h" nogil:
    bint is_space(unsigned char byte) noexcept
    size_t find_space(const unsigned char *p, size_t i, size_t size) noexcept
    size_t find_line_end(const unsigned char *p, size_t i, size_t size) noexcept


cdef inline Py_ssize_t skip_spaces(SecureBytes self, Py_ssize_t i) except -1:
    securebytes_check(self)
    while i < self.size and is_space(self.data[i]):
        i += 1
    return i


cdef inline Py_ssize_t backward(SecureBytes self, Py_ssize_t i, bint space) except -1:
    """The end of what is before `i` and not, or is, white space as told."""
    cdef const unsigned char *data = self.data
    securebytes_check(self)
    while i > 0 and is_space(data[i - 1]) == space:
        i -= 1
    return i


cdef list words(SecureBytes self, Py_ssize_t splits):
    cdef list parts = []
    cdef Py_ssize_t end
    cdef Py_ssize_t start = skip_spaces(self, 0)
    while start < self.size:
        end = <Py_ssize_t>find_space(self.data, <size_t>start, <size_t>self.size) if splits > 0 else self.size
        parts.append(securebytes_part(self, start, end - start))
        start = skip_spaces(self, end)
        splits -= 1
    return parts


cdef list words_from_behind(SecureBytes self, Py_ssize_t splits):
    cdef list parts = []
    cdef Py_ssize_t start
    cdef Py_ssize_t end = backward(self, self.size, True)
    while end > 0:
        start = backward(self, end, False) if splits > 0 else 0
        parts.append(securebytes_part(self, start, end - start))
        end = backward(self, start, True)
        splits -= 1
    parts.reverse()
    return parts


cdef int open_separator(needle_t *needle, object separator) except -1:
    needle_open(needle, separator)
    if needle.size == 0:
        needle_close(needle)
        raise ValueError("empty separator")
    return 0


def split(SecureBytes self not None, sep=None, Py_ssize_t maxsplit=-1):
    """The parts between separators.

    Parameters
    ----------
    sep : bytes-like; None: any run of ASCII white space, none of which is in a part
    maxsplit : at most so many separators count, from the left; -1: all
    """
    cdef needle_t needle
    cdef list parts
    cdef Py_ssize_t at
    cdef Py_ssize_t start = 0
    if maxsplit < 0:
        maxsplit = PY_SSIZE_T_MAX
    if sep is None:
        return words(self, maxsplit)
    open_separator(&needle, sep)
    try:
        securebytes_check(self)
        parts = []
        while maxsplit > 0:
            at = find_first(self.data + start, self.size - start, &needle)
            if at < 0:
                break
            parts.append(securebytes_part(self, start, at))
            start += at + needle.size
            maxsplit -= 1
            securebytes_check(self)
        parts.append(securebytes_part(self, start, self.size - start))
        return parts
    finally:
        needle_close(&needle)


def rsplit(SecureBytes self not None, sep=None, Py_ssize_t maxsplit=-1):
    """As `split`, with separators counted from the right."""
    cdef needle_t needle
    cdef list parts
    cdef Py_ssize_t at
    cdef Py_ssize_t end = self.size
    if maxsplit < 0:
        maxsplit = PY_SSIZE_T_MAX
    if sep is None:
        return words_from_behind(self, maxsplit)
    open_separator(&needle, sep)
    try:
        securebytes_check(self)
        parts = []
        while maxsplit > 0:
            at = find_last(self.data, end, &needle)
            if at < 0:
                break
            parts.append(securebytes_part(self, at + needle.size, end - at - needle.size))
            end = at
            maxsplit -= 1
            securebytes_check(self)
        parts.append(securebytes_part(self, 0, end))
        parts.reverse()
        return parts
    finally:
        needle_close(&needle)


cdef Py_ssize_t line_end(SecureBytes self, Py_ssize_t start, Py_ssize_t *next_start) except -1:
    """Where the line that begins at `start` ends, without and with its end: LF, CR or both."""
    cdef Py_ssize_t end
    securebytes_check(self)
    end = <Py_ssize_t>find_line_end(self.data, <size_t>start, <size_t>self.size)
    next_start[0] = min(end + 1, self.size)
    if end + 1 < self.size and self.data[end] == c"\r" and self.data[end + 1] == c"\n":
        next_start[0] += 1
    return end


def splitlines(SecureBytes self not None, bint keepends=False):
    """The lines, which end with LF, CR or CR LF, and have that end if `keepends`."""
    cdef list parts = []
    cdef Py_ssize_t end, next_start
    cdef Py_ssize_t start = 0
    securebytes_check(self)
    while start < self.size:
        end = line_end(self, start, &next_start)
        parts.append(securebytes_part(self, start, (next_start if keepends else end) - start))
        start = next_start
    return parts


# --- in three ---

cdef tuple three(SecureBytes self, Py_ssize_t at, Py_ssize_t size):
    """Before, the separator, behind."""
    return (securebytes_part(self, 0, at), securebytes_part(self, at, size),
            securebytes_part(self, at + size, self.size - at - size))


def partition(SecureBytes self not None, sep, /):
    """What is before the first `sep`, `sep` itself, and what is behind; where there is none, all and two empty ones."""
    cdef needle_t needle
    cdef Py_ssize_t at
    open_separator(&needle, sep)
    try:
        securebytes_check(self)
        at = find_first(self.data, self.size, &needle)
        if at < 0:
            return securebytes_part(self, 0, self.size), securebytes_new(0, self.heap), securebytes_new(0, self.heap)
        return three(self, at, needle.size)
    finally:
        needle_close(&needle)


def rpartition(SecureBytes self not None, sep, /):
    """As `partition` with the last `sep`; where there is none, two empty ones and all."""
    cdef needle_t needle
    cdef Py_ssize_t at
    open_separator(&needle, sep)
    try:
        securebytes_check(self)
        at = find_last(self.data, self.size, &needle)
        if at < 0:
            return securebytes_new(0, self.heap), securebytes_new(0, self.heap), securebytes_part(self, 0, self.size)
        return three(self, at, needle.size)
    finally:
        needle_close(&needle)


securebytes_add_methods((split, rsplit, splitlines, partition, rpartition))
