# cython: language_level=3
"""Layer 4: base64 from and to secret pages. base64.h has the loops.

What is told by errors, and by the time it takes: how long the text is, where characters are that validate=False skips,
and how much padding there is.
"""
from libc.string cimport memcpy
from secalloc_ext.heap cimport heap_free
from secalloc_ext.heapobject cimport Heap
from secalloc_ext.prim cimport wipe
from secalloc_ext.securebytes cimport (
    SecureBytes, heap_or_default, securebytes_add_methods, securebytes_check, securebytes_new, securebytes_of)
from secalloc_ext.sources cimport filled_t, source_buffer, source_resize, source_zeros

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef extern from "base64.h" nogil:
    ctypedef struct base64_variant:
        pass
    base64_variant base64_standard, base64_urlsafe
    int base64_digit(int c, base64_variant variant) noexcept
    void base64_encode(unsigned char *to, const unsigned char *data, size_t size, base64_variant variant) noexcept
    bint base64_decode(unsigned char *to, const unsigned char *text, size_t size, base64_variant variant) noexcept


cdef int take_text(filled_t *to, object data, Heap heap) except -1:
    """The characters, in a slot. Those of an ASCII str are copied as they are."""
    cdef const char *characters
    cdef Py_ssize_t size
    if not isinstance(data, str):
        return source_buffer(to, data, heap, False)
    if not (<str>data).isascii():
        raise ValueError("base64 in a str is ASCII characters only")
    characters = PyUnicode_AsUTF8AndSize(data, &size)
    source_zeros(to, size, heap, False)
    memcpy(to.data, characters, <size_t>size)
    return 0


cdef void skip_others(filled_t *text, base64_variant variant) noexcept:
    """Close up the characters that are of the alphabet, or padding."""
    cdef Py_ssize_t i, count = 0
    cdef unsigned char c
    for i in range(text.size):
        c = text.data[i]
        text.data[count] = c
        count += (base64_digit(c, variant) >= 0) | (c == c"=")
    wipe(text.data + count, <size_t>(text.size - count))
    text.size = count


cdef const char *decode(filled_t *text, bint urlsafe, Py_ssize_t *count) noexcept:
    """Put the bytes that the text spells in its place; answers what is wrong, or NULL."""
    cdef Py_ssize_t digits = text.size
    cdef Py_ssize_t padding
    while digits > 0 and text.size - digits < 2 and text.data[digits - 1] == c"=":
        digits -= 1
    padding = text.size - digits
    if digits % 4 == 1:
        return "a number of base64 digits that is one more than a multiple of four"
    if padding != -digits & 3 and (padding != 0 or not urlsafe):
        return "incorrect base64 padding"
    if not base64_decode(text.data, text.data, <size_t>digits, base64_urlsafe if urlsafe else base64_standard):
        return "a character that is no base64 digit"
    count[0] = digits // 4 * 3 + digits % 4 * 3 // 4
    wipe(text.data + count[0], <size_t>(text.size - count[0]))
    return NULL


def from_base64(data, *, bint urlsafe=False, bint validate=True, heap=None):
    """Bytes from base64, in an ASCII str or bytes-like.

    Parameters
    ----------
    urlsafe : ``-`` and ``_`` stand for ``+`` and ``/``; the padding may be left out
    validate : False skips characters outside the alphabet, as line ends

    Raises
    ------
    binascii.Error : a ValueError: it is no base64; the message does not quote it
    ValueError : a str that is not ASCII
    """
    cdef filled_t slot
    cdef Heap where = heap_or_default(heap)
    cdef Py_ssize_t count = 0
    cdef const char *wrong
    take_text(&slot, data, where)
    if not validate:
        skip_others(&slot, base64_urlsafe if urlsafe else base64_standard)
    wrong = decode(&slot, urlsafe, &count)
    if wrong != NULL:
        heap_free(slot.data)
        import binascii

        raise binascii.Error(wrong.decode())
    source_resize(&slot, count, where)
    return securebytes_of(&slot, where, False)


def base64(SecureBytes self not None, *, bint urlsafe=False):
    """The bytes in base64, with padding, as a SecureBytes of ASCII characters in the same heap.

    Parameters
    ----------
    urlsafe : ``-`` and ``_`` in place of ``+`` and ``/``
    """
    securebytes_check(self)
    cdef SecureBytes text = securebytes_new((self.size + 2) // 3 * 4, self.heap)
    securebytes_check(self)
    base64_encode(text.data, self.data, <size_t>self.size, base64_urlsafe if urlsafe else base64_standard)
    return text


securebytes_add_methods((staticmethod(from_base64), base64))
