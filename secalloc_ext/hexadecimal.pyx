# cython: language_level=3
"""Layer 4: the hex digits of a SecureBytes, as secret as its bytes. By arithmetic: the time depends on sizes alone."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check
from secalloc_ext.arguments cimport size_product, size_sum
from secalloc_ext.securebytes cimport SecureBytes, securebytes_add_methods, securebytes_check, securebytes_make

cdef object NONE_GIVEN = object()


cdef inline unsigned char digit_of(unsigned char value) noexcept:
    return value + c"0" + (<unsigned char>(9 - value) >> 7) * (c"a" - c"0" - 10)


cdef void put_digits(unsigned char *to, const unsigned char *data, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    for i in range(size):
        to[2 * i] = digit_of(data[i] >> 4)
        to[2 * i + 1] = digit_of(data[i] & 15)


cdef void put_groups(unsigned char *to, SecureBytes self, unsigned char separator, Py_ssize_t first,
                     Py_ssize_t group) noexcept:
    """Digits of `first` bytes, then always a separator and those of `group` bytes."""
    cdef const unsigned char *data = self.data
    cdef Py_ssize_t i
    for i in range(self.size):
        if i == first:
            to[0] = separator
            to += 1
            first += group
        to[0] = digit_of(data[i] >> 4)
        to[1] = digit_of(data[i] & 15)
        to += 2


cdef int separator_byte(object sep) except -1:
    if len(sep) != 1:
        raise ValueError("sep must be length 1.")
    if isinstance(sep, str):
        byte = ord(sep)
    elif PyBytes_Check(sep):
        byte = <unsigned char>PyBytes_AS_STRING(sep)[0]
    else:
        raise TypeError("sep must be str or bytes.")
    if byte > 127:
        raise ValueError("sep must be ASCII.")
    return byte


def hex(SecureBytes self not None, sep=NONE_GIVEN, bytes_per_sep=1):
    """Two ASCII digits for each byte, in a SecureBytes.

    Parameters
    ----------
    sep : an ASCII character, as str or bytes, to put between groups of digits
    bytes_per_sep : how many bytes are a group, counted from the right; from the left if negative
    """
    cdef Py_ssize_t wanted = bytes_per_sep
    cdef Py_ssize_t group
    cdef Py_ssize_t separators = 0
    cdef int separator = 0
    cdef SecureBytes made
    if sep is not NONE_GIVEN:
        separator = separator_byte(sep)
    made = SecureBytes.__new__(SecureBytes)
    securebytes_check(self)
    group = min(abs(max(wanted, -self.size)), self.size)
    if sep is not NONE_GIVEN and group > 0:
        separators = (self.size - 1) // group
    securebytes_make(made, size_sum(size_product(self.size, 2), separators), self.heap)
    if separators == 0:
        put_digits(made.data, self.data, self.size)
    else:
        put_groups(made.data, self, <unsigned char>separator,
                   group if wanted < 0 else self.size - separators * group, group)
    return made


securebytes_add_methods((hex,))
