# cython: language_level=3
"""Layer 4: a SecureBytes as ASCII: what kinds of bytes it consists of, and its letters in another case.

All by arithmetic on every byte, without branches or tables: the time depends on the size alone.
"""
from secalloc_ext.securebytes cimport SecureBytes, securebytes_add_methods, securebytes_check, securebytes_make

cdef enum:
    UPPER = 1, LOWER = 2, DIGIT = 4, SPACE = 8, OTHER = 16, HIGH = 32   # of one byte, one of them


cdef inline unsigned char is_upper(unsigned char c) noexcept:
    return <unsigned char>(c - 65) < 26


cdef inline unsigned char is_lower(unsigned char c) noexcept:
    return <unsigned char>(c - 97) < 26


cdef inline unsigned char kind_of(unsigned char c) noexcept:
    cdef unsigned char digit = <unsigned char>(c - 48) < 10
    cdef unsigned char space = (<unsigned char>(c - 9) < 5) | (c == 32)
    cdef unsigned char kind = is_upper(c) | is_lower(c) << 1 | digit << 2 | space << 3 | (c >> 7) << 5
    return kind | <unsigned char>((kind == 0) << 4)


cdef int kinds_of(SecureBytes self) except -1:
    """All kinds that there are in it, or 0."""
    cdef unsigned char kinds = 0
    cdef Py_ssize_t i
    securebytes_check(self)
    for i in range(self.size):
        kinds |= kind_of(self.data[i])
    return kinds


def isalnum(SecureBytes self not None):
    """Whether there is a byte, and all are ASCII letters or digits."""
    cdef int kinds = kinds_of(self)
    return kinds != 0 and not kinds & ~(UPPER | LOWER | DIGIT)


def isalpha(SecureBytes self not None):
    """Whether there is a byte, and all are ASCII letters."""
    cdef int kinds = kinds_of(self)
    return kinds != 0 and not kinds & ~(UPPER | LOWER)


def isascii(SecureBytes self not None):
    """Whether all bytes are below 128."""
    return not kinds_of(self) & HIGH


def isdigit(SecureBytes self not None):
    """Whether there is a byte, and all are ASCII digits."""
    return kinds_of(self) == DIGIT


def islower(SecureBytes self not None):
    """Whether there is a small ASCII letter, and no capital one."""
    return kinds_of(self) & (LOWER | UPPER) == LOWER


def isupper(SecureBytes self not None):
    """Whether there is a capital ASCII letter, and no small one."""
    return kinds_of(self) & (LOWER | UPPER) == UPPER


def isspace(SecureBytes self not None):
    """Whether there is a byte, and all are ASCII white space."""
    return kinds_of(self) == SPACE


def istitle(SecureBytes self not None):
    """Whether there is an ASCII letter, and those at the start of a word are capital, and no others."""
    cdef unsigned char capital, small
    cdef unsigned char after_letter = 0
    cdef unsigned char letters = 0
    cdef unsigned char wrong = 0
    cdef Py_ssize_t i
    securebytes_check(self)
    for i in range(self.size):
        capital, small = is_upper(self.data[i]), is_lower(self.data[i])
        wrong |= (capital & after_letter) | (small & ~after_letter)
        after_letter = capital | small
        letters |= after_letter
    return letters != 0 and wrong == 0


# --- in another case: ASCII letters differ in the bit of 32 ---

ctypedef void (*recase_t)(unsigned char *to, const unsigned char *data, Py_ssize_t size) noexcept


cdef SecureBytes recased(SecureBytes self, recase_t recase):
    cdef SecureBytes made = SecureBytes.__new__(SecureBytes)
    securebytes_check(self)
    securebytes_make(made, self.size, self.heap)
    recase(made.data, self.data, self.size)
    return made


cdef void raise_all(unsigned char *to, const unsigned char *data, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    for i in range(size):
        to[i] = data[i] ^ is_lower(data[i]) << 5


cdef void lower_all(unsigned char *to, const unsigned char *data, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    for i in range(size):
        to[i] = data[i] ^ is_upper(data[i]) << 5


cdef void swap_all(unsigned char *to, const unsigned char *data, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    for i in range(size):
        to[i] = data[i] ^ (is_upper(data[i]) | is_lower(data[i])) << 5


cdef void raise_first(unsigned char *to, const unsigned char *data, Py_ssize_t size) noexcept:
    lower_all(to, data, size)
    raise_all(to, to, min(size, 1))


cdef void raise_words(unsigned char *to, const unsigned char *data, Py_ssize_t size) noexcept:
    cdef unsigned char capital, small
    cdef unsigned char after_letter = 0
    cdef Py_ssize_t i
    for i in range(size):
        capital, small = is_upper(data[i]), is_lower(data[i])
        to[i] = data[i] ^ ((capital & after_letter) | (small & ~after_letter)) << 5
        after_letter = capital | small


def upper(SecureBytes self not None):
    """With capital ASCII letters for small ones."""
    return recased(self, raise_all)


def lower(SecureBytes self not None):
    """With small ASCII letters for capital ones."""
    return recased(self, lower_all)


def swapcase(SecureBytes self not None):
    """With small ASCII letters for capital ones, and the other way round."""
    return recased(self, swap_all)


def capitalize(SecureBytes self not None):
    """With the first byte in `upper` and the rest in `lower`."""
    return recased(self, raise_first)


def title(SecureBytes self not None):
    """With capital ASCII letters where words begin, and small ones elsewhere."""
    return recased(self, raise_words)


securebytes_add_methods((isalnum, isalpha, isascii, isdigit, islower, isupper, isspace, istitle, upper, lower, swapcase,
                         capitalize, title))
