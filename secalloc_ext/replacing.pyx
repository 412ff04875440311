# cython: language_level=3
"""Layer 4: a SecureBytes with other bytes for some, or in another order.

`replace` and the `delete` of `translate` take a time that depends on the content. `translate` looks the bytes up in the
caller's table, as bytearray does: which of its four cache lines are touched depends on them.

These two look at the bytes twice, for the result's size and for the result. Meanwhile a thread that does without the
GIL may write others (`readinto`): the result is of some of both then, but no byte is written behind its end.
"""
from libc.string cimport memcpy, memset
from secalloc_ext.needle cimport find_first, needle_close, needle_open, needle_t
from secalloc_ext.prim cimport size_add, size_multiply, wipe
from secalloc_ext.securebytes cimport (
    SecureBytes, securebytes_add_methods, securebytes_check, securebytes_check_writable, securebytes_make)

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX


cdef Py_ssize_t places(SecureBytes self, const needle_t *old, Py_ssize_t most) noexcept:
    """How many are replaced."""
    cdef Py_ssize_t at
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t times = 0
    if old.size == 0:
        return min(self.size, most - 1) + 1
    while times < most:
        at = find_first(self.data + start, self.size - start, old)
        if at < 0:
            break
        times += 1
        start += at + old.size
    return times


cdef void put_replaced(SecureBytes made, SecureBytes self, const needle_t *old, const needle_t *new,
                       Py_ssize_t times) noexcept:
    cdef unsigned char *to = made.data
    cdef Py_ssize_t room = made.size
    cdef Py_ssize_t at, i
    cdef Py_ssize_t start = 0
    for i in range(times):
        # Where nothing is replaced, it is before the first byte, and then behind each.
        at = find_first(self.data + start, self.size - start, old) if old.size > 0 else i > 0
        if at < 0 or at > room or new.size > room - at:
            break
        memcpy(to, self.data + start, <size_t>at)
        memcpy(to + at, new.data, <size_t>new.size)
        to += at + new.size
        room -= at + new.size
        start += at + old.size
    memcpy(to, self.data + start, <size_t>min(self.size - start, room))


cdef int replaced_size(Py_ssize_t size, Py_ssize_t times, Py_ssize_t old, Py_ssize_t new, Py_ssize_t *result) except -1:
    cdef size_t added, total
    if (size_multiply(<size_t>times, <size_t>new, &added) or size_add(<size_t>(size - times * old), added, &total)
            or total > <size_t>PY_SSIZE_T_MAX):
        raise OverflowError("replace bytes is too long")
    result[0] = <Py_ssize_t>total
    return 0


def replace(SecureBytes self not None, old, new, Py_ssize_t count=-1, /):
    """With `new` for each `old`, or for the first `count` of them."""
    cdef needle_t old_needle, new_needle
    cdef SecureBytes made
    cdef Py_ssize_t times, size
    needle_open(&old_needle, old)
    try:
        needle_open(&new_needle, new)
        try:
            made = SecureBytes.__new__(SecureBytes)
            securebytes_check(self)
            times = places(self, &old_needle, PY_SSIZE_T_MAX if count < 0 else count)
            replaced_size(self.size, times, old_needle.size, new_needle.size, &size)
            securebytes_make(made, size, self.heap)
            put_replaced(made, self, &old_needle, &new_needle, times)
            return made
        finally:
            needle_close(&new_needle)
    finally:
        needle_close(&old_needle)


# --- byte by byte ---

cdef SecureBytes translated(SecureBytes self, const unsigned char *table, const unsigned char *deleted):
    """`deleted` has a 1 for each byte to be left out; NULL: none is."""
    cdef SecureBytes made = SecureBytes.__new__(SecureBytes)
    cdef const unsigned char *data = self.data
    cdef unsigned char *to
    cdef unsigned char byte
    cdef Py_ssize_t i
    cdef Py_ssize_t done = 0
    cdef Py_ssize_t size = self.size
    securebytes_check(self)
    if deleted != NULL:
        for i in range(self.size):
            size -= deleted[data[i]]
    securebytes_make(made, size, self.heap)
    to = made.data
    if deleted == NULL and table == NULL:
        memcpy(to, data, <size_t>size)
    elif deleted == NULL:
        for i in range(size):
            to[i] = table[data[i]]
    else:
        for i in range(self.size):
            byte = data[i]
            if done < size and not deleted[byte]:
                to[done] = table[byte] if table != NULL else byte
                done += 1
    return made


cdef SecureBytes translated_without(SecureBytes self, const unsigned char *table, object delete):
    cdef needle_t needle
    cdef unsigned char deleted[256]
    cdef Py_ssize_t i
    memset(deleted, 0, sizeof(deleted))
    needle_open(&needle, delete)
    try:
        for i in range(needle.size):
            deleted[needle.data[i]] = 1
        return translated(self, table, deleted if needle.size > 0 else NULL)
    finally:
        wipe(deleted, sizeof(deleted))
        needle_close(&needle)


def translate(SecureBytes self not None, table, /, delete=b""):
    """With each byte replaced by ``table[byte]``, but for those in `delete`, which are left out.

    Parameters
    ----------
    table : 256 bytes, as ``bytes.maketrans`` makes; None: no byte is replaced
    """
    cdef needle_t needle
    if table is None:
        return translated_without(self, NULL, delete)
    needle_open(&needle, table)
    try:
        if needle.size != 256:
            raise ValueError("translation table must be 256 characters long")
        return translated_without(self, needle.data, delete)
    finally:
        needle_close(&needle)


def reverse(SecureBytes self not None):
    """Reverse the order of the bytes in place."""
    cdef Py_ssize_t i
    securebytes_check_writable(self)
    for i in range(self.size // 2):
        self.data[i], self.data[self.size - 1 - i] = self.data[self.size - 1 - i], self.data[i]


securebytes_add_methods((replace, translate, reverse))
