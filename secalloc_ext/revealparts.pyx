# cython: language_level=3
"""Layer 4: the methods of revealed objects that answer parts of them: stripped, split, parted."""
from libc.stdint cimport uint32_t
from secalloc_ext.revealedbytes cimport revealedbytes_type
from secalloc_ext.revealedstr cimport revealedstr_type
from secalloc_ext.revealmethods cimport revealmethods_add
from secalloc_ext.revealtext cimport (
    Argument, text_argument, text_at, text_find, text_find_last, text_is_there, text_open, text_part, text_t)

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX


cdef bint is_space(const text_t *text, Py_ssize_t i):
    cdef uint32_t c = text_at(text, i)
    return (<Py_UCS4>c).isspace() if text.is_str else c == 32 or 9 <= c <= 13


cdef bint is_line_end(const text_t *text, Py_ssize_t i):
    cdef uint32_t c = text_at(text, i)
    if c == 10 or c == 13 or not text.is_str:
        return c == 10 or c == 13
    return 11 <= c <= 12 or 0x1c <= c <= 0x1e or c == 0x85 or 0x2028 <= c <= 0x2029


cdef object stripped(object self, object characters, bint left, bint right):
    cdef text_t text
    cdef Argument given
    cdef text_t one
    cdef Py_ssize_t start = 0, end
    text_open(&text, self)
    end = text.size
    if characters is None:
        while left and start < end and is_space(&text, start):
            start += 1
        while right and end > start and is_space(&text, end - 1):
            end -= 1
        return text_part(self, &text, start, end)
    given = text_argument(characters, text.is_str)
    one = text
    one.size = 1
    while left and start < end:
        one.data = text.data + start * text.kind
        if text_find(&given.text, 0, &one) < 0:
            break
        start += 1
    while right and end > start:
        one.data = text.data + (end - 1) * text.kind
        if text_find(&given.text, 0, &one) < 0:
            break
        end -= 1
    return text_part(self, &text, start, end)


def strip(self, chars=None, /):
    return stripped(self, chars, True, True)


def lstrip(self, chars=None, /):
    return stripped(self, chars, True, False)


def rstrip(self, chars=None, /):
    return stripped(self, chars, False, True)


def removeprefix(self, prefix, /):
    cdef text_t text
    text_open(&text, self)
    cdef Argument given = text_argument(prefix, text.is_str)
    return text_part(self, &text, given.text.size if text_is_there(&text, 0, &given.text) else 0, text.size)


def removesuffix(self, suffix, /):
    cdef text_t text
    text_open(&text, self)
    cdef Argument given = text_argument(suffix, text.is_str)
    cdef Py_ssize_t end = text.size - given.text.size
    return text_part(self, &text, 0, end if text_is_there(&text, end, &given.text) else text.size)


cdef object parted(object self, object separator, bint last):
    cdef text_t text
    cdef Py_ssize_t at
    text_open(&text, self)
    cdef Argument given = text_argument(separator, text.is_str)
    if given.text.size == 0:
        raise ValueError("empty separator")
    at = text_find_last(&text, text.size, &given.text) if last else text_find(&text, 0, &given.text)
    nothing = "" if text.is_str else b""
    if at < 0:
        return (nothing, nothing, self) if last else (self, nothing, nothing)
    return (text_part(self, &text, 0, at), separator,
            text_part(self, &text, at + given.text.size, text.size))


def partition(self, sep, /):
    return parted(self, sep, False)


def rpartition(self, sep, /):
    return parted(self, sep, True)


cdef list split_at_spaces(object self, const text_t *text, Py_ssize_t most):
    cdef list parts = []
    cdef Py_ssize_t start, end = 0
    while True:
        while end < text.size and is_space(text, end):
            end += 1
        start = end
        if start == text.size:
            return parts
        if len(parts) == most:
            parts.append(text_part(self, text, start, text.size))
            return parts
        while end < text.size and not is_space(text, end):
            end += 1
        parts.append(text_part(self, text, start, end))


cdef list rsplit_at_spaces(object self, const text_t *text, Py_ssize_t most):
    cdef list parts = []
    cdef Py_ssize_t start = text.size, end
    while True:
        while start > 0 and is_space(text, start - 1):
            start -= 1
        end = start
        if end == 0:
            break
        if len(parts) == most:
            parts.append(text_part(self, text, 0, end))
            break
        while start > 0 and not is_space(text, start - 1):
            start -= 1
        parts.append(text_part(self, text, start, end))
    parts.reverse()
    return parts


cdef Argument separator_of(object sep, bint is_str):
    cdef Argument given = text_argument(sep, is_str)
    if given.text.size == 0:
        raise ValueError("empty separator")
    return given


def split(self, sep=None, maxsplit=-1):
    cdef text_t text
    cdef Py_ssize_t most = maxsplit, start = 0, at
    cdef list parts = []
    text_open(&text, self)
    most = PY_SSIZE_T_MAX if most < 0 else most
    if sep is None:
        return split_at_spaces(self, &text, most)
    cdef Argument given = separator_of(sep, text.is_str)
    while len(parts) < most:
        at = text_find(&text, start, &given.text)
        if at < 0:
            break
        parts.append(text_part(self, &text, start, at))
        start = at + given.text.size
    parts.append(text_part(self, &text, start, text.size))
    return parts


def rsplit(self, sep=None, maxsplit=-1):
    cdef text_t text
    cdef Py_ssize_t most = maxsplit, end, at
    cdef list parts = []
    text_open(&text, self)
    most = PY_SSIZE_T_MAX if most < 0 else most
    if sep is None:
        return rsplit_at_spaces(self, &text, most)
    cdef Argument given = separator_of(sep, text.is_str)
    end = text.size
    while len(parts) < most:
        at = text_find_last(&text, end, &given.text)
        if at < 0:
            break
        parts.append(text_part(self, &text, at + given.text.size, end))
        end = at
    parts.append(text_part(self, &text, 0, end))
    parts.reverse()
    return parts


def splitlines(self, keepends=False):
    cdef text_t text
    cdef Py_ssize_t start = 0, end, behind
    cdef bint keep = keepends
    cdef list parts = []
    text_open(&text, self)
    while start < text.size:
        end = start
        while end < text.size and not is_line_end(&text, end):
            end += 1
        behind = end + 1 if end < text.size else end
        if behind < text.size and text_at(&text, end) == 13 and text_at(&text, behind) == 10:
            behind += 1
        parts.append(text_part(self, &text, start, behind if keep else end))
        start = behind
    return parts


METHODS = {
    "strip": strip, "lstrip": lstrip, "rstrip": rstrip, "removeprefix": removeprefix, "removesuffix": removesuffix,
    "partition": partition, "rpartition": rpartition, "split": split, "rsplit": rsplit, "splitlines": splitlines,
}
revealmethods_add(revealedbytes_type, "RevealedBytes", METHODS)
revealmethods_add(revealedstr_type, "RevealedStr", METHODS)
