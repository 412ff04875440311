# cython: language_level=3
"""Layer 4: a SecureBytes without what is at its ends. How much of it that is depends on the content."""
from libc.string cimport memchr, memcpy
from secalloc_ext.needle cimport needle_close, needle_open, needle_t
from secalloc_ext.prim cimport bytes_equal_constant_time
from secalloc_ext.securebytes cimport (
    SecureBytes, securebytes_add_methods, securebytes_check, securebytes_make, securebytes_part)


cdef SecureBytes trimmed(SecureBytes self, object which, bint before, bint behind):
    """Without bytes of `which` at these ends."""
    cdef needle_t needle
    cdef SecureBytes made
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t end = self.size
    needle_open(&needle, b" \t\n\r\v\f" if which is None else which)
    try:
        made = SecureBytes.__new__(SecureBytes)
        securebytes_check(self)
        while before and start < end and memchr(needle.data, self.data[start], <size_t>needle.size) != NULL:
            start += 1
        while behind and start < end and memchr(needle.data, self.data[end - 1], <size_t>needle.size) != NULL:
            end -= 1
        securebytes_make(made, end - start, self.heap)
        memcpy(made.data, self.data + start, <size_t>(end - start))
        return made
    finally:
        needle_close(&needle)


def strip(SecureBytes self not None, chars=None, /):
    """Without the bytes of `chars`, bytes-like, at both ends; None: without ASCII white space."""
    return trimmed(self, chars, True, True)


def lstrip(SecureBytes self not None, chars=None, /):
    """As `strip`, at the start only."""
    return trimmed(self, chars, True, False)


def rstrip(SecureBytes self not None, chars=None, /):
    """As `strip`, at the end only."""
    return trimmed(self, chars, False, True)


cdef SecureBytes cut(SecureBytes self, object part, bint behind):
    """Without `part` at one end, if that is there."""
    cdef needle_t needle
    cdef Py_ssize_t rest
    cdef bint is_there
    needle_open(&needle, part)
    try:
        securebytes_check(self)
        rest = self.size - needle.size
        is_there = rest >= 0 and bytes_equal_constant_time(
            self.data + (rest if behind else 0), needle.data, <size_t>needle.size)
        if not is_there:
            return securebytes_part(self, 0, self.size)
        return securebytes_part(self, 0 if behind else needle.size, rest)
    finally:
        needle_close(&needle)


def removeprefix(SecureBytes self not None, prefix, /):
    """Without `prefix`, if it begins with that."""
    return cut(self, prefix, False)


def removesuffix(SecureBytes self not None, suffix, /):
    """Without `suffix`, if it ends with that."""
    return cut(self, suffix, True)


securebytes_add_methods((strip, lstrip, rstrip, removeprefix, removesuffix))
