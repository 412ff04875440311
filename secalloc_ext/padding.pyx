# cython: language_level=3
"""Layer 4: a SecureBytes with bytes added, to a width or to the next column."""
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_Check, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from libc.string cimport memcpy, memset
from secalloc_ext.arguments cimport int_value
from secalloc_ext.securebytes cimport SecureBytes, securebytes_add_methods, securebytes_check, securebytes_make

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX


cdef int fill_byte(object fill) except -1:
    """The one byte of what pads."""
    if PyBytes_Check(fill) and PyBytes_GET_SIZE(fill) == 1:
        return <unsigned char>PyBytes_AS_STRING(fill)[0]
    if PyByteArray_Check(fill) and PyByteArray_GET_SIZE(fill) == 1:
        return <unsigned char>PyByteArray_AS_STRING(fill)[0]
    if isinstance(fill, SecureBytes) and len(fill) == 1:
        return (<SecureBytes>fill).data[0]
    raise TypeError(f"what fills must be a byte string of length 1, not {type(fill).__name__}")


cdef inline Py_ssize_t missing(SecureBytes self, Py_ssize_t width) noexcept:
    return width - self.size if width > self.size else 0


cdef SecureBytes padded(SecureBytes self, Py_ssize_t left, Py_ssize_t right, int byte):
    """With so many bytes added on each side."""
    cdef SecureBytes made = SecureBytes.__new__(SecureBytes)
    securebytes_check(self)
    securebytes_make(made, left + self.size + right, self.heap)
    memset(made.data, byte, <size_t>left)
    memcpy(made.data + left, self.data, <size_t>self.size)
    memset(made.data + left + self.size, byte, <size_t>right)
    return made


def ljust(SecureBytes self not None, Py_ssize_t width, fillbyte=b" ", /):
    """`width` bytes at least, with `fillbyte` added at the end."""
    return padded(self, 0, missing(self, width), fill_byte(fillbyte))


def rjust(SecureBytes self not None, Py_ssize_t width, fillbyte=b" ", /):
    """`width` bytes at least, with `fillbyte` added at the start."""
    return padded(self, missing(self, width), 0, fill_byte(fillbyte))


def center(SecureBytes self not None, Py_ssize_t width, fillbyte=b" ", /):
    """`width` bytes at least, with `fillbyte` added on both sides."""
    cdef Py_ssize_t added = missing(self, width)
    cdef Py_ssize_t left = added // 2 + (added & width & 1)   # the odd one as bytearray has it
    return padded(self, left, added - left, fill_byte(fillbyte))


def zfill(SecureBytes self not None, Py_ssize_t width, /):
    """`width` bytes at least, with ASCII zeros added at the start, but behind a sign."""
    cdef Py_ssize_t added = missing(self, width)
    cdef SecureBytes made = padded(self, added, 0, c"0")
    if added > 0 and self.size > 0 and made.data[added] in (c"+", c"-"):
        made.data[0], made.data[added] = made.data[added], c"0"
    return made


# --- columns ---

cdef Py_ssize_t expand(unsigned char *to, Py_ssize_t room, const unsigned char *data, Py_ssize_t size,
                       Py_ssize_t tab) noexcept:
    """How many bytes there are with spaces for tabs; -1 if more than `room`. `to` gets them, unless NULL."""
    cdef unsigned char byte
    cdef Py_ssize_t i, added
    cdef Py_ssize_t column = 0
    cdef Py_ssize_t done = 0
    for i in range(size):
        byte, added = data[i], 1
        if byte == c"\t":
            added = tab - column % tab if tab > 0 else 0
        if added > room - done:
            return -1
        if to != NULL:
            memset(to + done, c" " if byte == c"\t" else byte, <size_t>added)
        done += added
        column = 0 if byte == c"\n" or byte == c"\r" else column + added
    return done


def expandtabs(SecureBytes self not None, tabsize=8):
    """With spaces for each tab, up to the next column that is a multiple of `tabsize`."""
    cdef Py_ssize_t size
    cdef int tab = int_value(tabsize)
    cdef SecureBytes made = SecureBytes.__new__(SecureBytes)
    securebytes_check(self)
    size = expand(NULL, PY_SSIZE_T_MAX, self.data, self.size, tab)
    if size < 0:
        raise OverflowError("result too long")
    securebytes_make(made, size, self.heap)
    expand(made.data, size, self.data, self.size, tab)  # less, where a thread without the GIL writes meanwhile
    return made


securebytes_add_methods((ljust, rjust, center, zfill, expandtabs))
