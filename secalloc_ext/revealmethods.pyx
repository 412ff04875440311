# cython: language_level=3
"""Layer 4: the methods of RevealedBytes and RevealedStr whose results hold secret text: revealed objects, as well.

Each method of bytes and str that copies stands here, in `revealparts` or in `revealcase`, or is refused where it cannot
but use ordinary memory; the others, which answer a number, a truth or one byte, are bytes' and str's own. A result
without content is `b""` or `""`, one that is all of the object the object itself.

Functions of both types take `self` as code points; what differs is asked of `text.is_str`.
"""
from cpython.object cimport PyObject
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack
from libc.stdint cimport uint32_t
from libc.string cimport memcpy
from secalloc_ext.arguments cimport int_value
from secalloc_ext.revealcodecs cimport (
    revealcodecs_codec, revealcodecs_decode, revealcodecs_encode, revealcodecs_errors)
from secalloc_ext.revealedbytes cimport (
    revealedbytes_forked, revealedbytes_is, revealedbytes_new, revealedbytes_type)
from secalloc_ext.revealedstr cimport revealedstr_forked, revealedstr_is, revealedstr_type
from secalloc_ext.revealforked cimport revealforked_finish
from secalloc_ext.revealtext cimport (
    Argument, Points, points_add, points_for, text_argument, text_at, text_find, text_heap, text_open, text_part,
    text_t)
from secalloc_ext.revealtype cimport PyBytes_Type, PyType_Modified, PyType_Ready, PyUnicode_Type, type_t

cdef extern from "Python.h":
    bint PyBytes_Check(object candidate)
    bint PyUnicode_Check(object candidate)
    bint PyObject_CheckBuffer(object candidate)
    Py_ssize_t PY_SSIZE_T_MAX

cdef object NONE_GIVEN = object()   # None is refused, as bytes and str do


# --- slots ------------------------------------------------------------------------------------------------------------

cdef object subscript(PyObject *self, PyObject *key):
    cdef text_t text
    cdef Py_ssize_t start = 0, stop = 0, step = 0, count, i
    cdef Points points
    text_open(&text, <object>self)
    if not isinstance(<object>key, slice):
        return (PyUnicode_Type if text.is_str else PyBytes_Type).tp_as_mapping.mp_subscript(self, key)
    PySlice_Unpack(<object>key, &start, &stop, &step)
    count = PySlice_AdjustIndices(text.size, &start, &stop, step)
    if step == 1:
        return text_part(<object>self, &text, start, start + count)
    points = points_for(<object>self, count)
    for i in range(count):
        points_add(points, text_at(&text, start + i * step))
    return points.become(text.is_str)


cdef object concatenate(object self, const text_t *left, const text_t *right, bint is_str):
    """`self`, which is revealed, is one of the two."""
    cdef unsigned char *payload = NULL
    cdef Points points
    if left.size > PY_SSIZE_T_MAX - right.size:
        raise MemoryError("the result is too long")
    if not is_str:
        made = revealedbytes_new(text_heap(self), left.size + right.size, &payload)
        memcpy(payload, left.data, <size_t>left.size)
        memcpy(payload + left.size, right.data, <size_t>right.size)
        return made
    points = points_for(self, left.size + right.size)
    points.add_range(left, 0, left.size)
    points.add_range(right, 0, right.size)
    return points.become(True)


cdef object add(PyObject *left, PyObject *right):
    """Of two bytes or two str of which one is revealed; or of revealed bytes and any buffer."""
    cdef text_t text
    cdef Argument other
    cdef bint is_left = revealedbytes_is(left) or revealedstr_is(left)
    cdef object self = <object>left if is_left else <object>right
    cdef object rest = <object>right if is_left else <object>left
    text_open(&text, self)
    if not (PyUnicode_Check(rest) if text.is_str else PyBytes_Check(rest) or is_left and PyObject_CheckBuffer(rest)):
        return NotImplemented
    other = text_argument(rest, text.is_str)
    if other.text.size == 0:
        return self
    if is_left:
        return concatenate(self, &text, &other.text, text.is_str)
    return concatenate(self, &other.text, &text, text.is_str)


cdef object concat(PyObject *self, PyObject *other):
    """PySequence_Concat, or what is left of `+` when `add` did not know the other."""
    result = add(self, other)
    if result is NotImplemented:
        raise TypeError(f"can't concat {type(<object>other).__name__} to {type(<object>self).__name__}")
    return result


cdef object repeat(PyObject *self, Py_ssize_t count):
    cdef text_t text
    cdef Points points
    cdef Py_ssize_t _i
    text_open(&text, <object>self)
    if count <= 1:
        return text_part(<object>self, &text, 0, text.size if count == 1 else 0)
    if text.size > PY_SSIZE_T_MAX // count:
        raise OverflowError("the result is too long")
    points = points_for(<object>self, text.size * count)
    for _i in range(count):
        points.add_range(&text, 0, text.size)
    return points.become(text.is_str)


cdef object remainder(PyObject *left, PyObject *right):
    """`text % values` with a secret text. With a secret value, the text is the caller's, and so is the result."""
    if revealedbytes_is(left) or revealedstr_is(left):
        raise TypeError("formatting works in ordinary memory: a revealed object is no format")
    return NotImplemented


# --- made anew --------------------------------------------------------------------------------------------------------

def replace(self, old, new, /, count=-1):
    cdef text_t text
    cdef Py_ssize_t left = count, start = 0, at
    text_open(&text, self)
    cdef Argument before = text_argument(old, text.is_str)
    cdef Argument after = text_argument(new, text.is_str)
    cdef Points points = points_for(self, text.size)
    cdef bint changed = False
    while left != 0:
        at = text_find(&text, start, &before.text)
        if at < 0:
            break
        changed = True
        points.add_range(&text, start, at)
        points.add_range(&after.text, 0, after.text.size)
        start = at + before.text.size
        left -= 1
        if before.text.size == 0:   # between all characters
            points.add_range(&text, at, min(at + 1, text.size))
            start = at + 1
            if at == text.size:
                break
    points.add_range(&text, start, text.size)
    return points.become(text.is_str) if changed else self


def join(self, iterable, /):
    cdef text_t text
    cdef Argument item
    cdef Py_ssize_t i = 0
    text_open(&text, self)
    cdef Points points = points_for(self, 0)
    for each in iterable:
        if text.is_str and not isinstance(each, str):
            raise TypeError(f"sequence item {i}: expected str instance, {type(each).__name__} found")
        item = text_argument(each, text.is_str)
        if i > 0:
            points.add_range(&text, 0, text.size)
        points.add_range(&item.text, 0, item.text.size)
        i += 1
    return points.become(text.is_str)


cdef object padded(object self, object width, object fill, int side):
    """Fill up on the left (-1), the right (1) or both sides."""
    cdef text_t text
    cdef Py_ssize_t columns = width, missing, left
    text_open(&text, self)
    cdef Argument filler = text_argument((" " if text.is_str else b" ") if fill is NONE_GIVEN else fill, text.is_str)
    if filler.text.size != 1:
        raise TypeError(f"the fill character must be exactly one {'character' if text.is_str else 'byte'} long")
    missing = columns - text.size
    if missing <= 0:
        return self
    # As CPython: of an odd number to fill, the one more is on the left where the width is odd.
    left = missing if side < 0 else 0 if side > 0 else missing // 2 + (missing & columns & 1)
    cdef Points points = points_for(self, columns)
    points.add_many(text_at(&filler.text, 0), left)
    points.add_range(&text, 0, text.size)
    points.add_many(text_at(&filler.text, 0), missing - left)
    return points.become(text.is_str)


def ljust(self, width, fillchar=NONE_GIVEN, /):
    return padded(self, width, fillchar, 1)


def rjust(self, width, fillchar=NONE_GIVEN, /):
    return padded(self, width, fillchar, -1)


def center(self, width, fillchar=NONE_GIVEN, /):
    return padded(self, width, fillchar, 0)


def zfill(self, width, /):
    cdef text_t text
    cdef Py_ssize_t columns = width, sign
    text_open(&text, self)
    if columns <= text.size:
        return self
    sign = 1 if text.size > 0 and text_at(&text, 0) in (43, 45) else 0   # + -
    cdef Points points = points_for(self, columns)
    points.add_range(&text, 0, sign)
    points.add_many(48, columns - text.size)
    points.add_range(&text, sign, text.size)
    return points.become(text.is_str)


def expandtabs(self, tabsize=8):
    cdef text_t text
    cdef Py_ssize_t tab = tabsize, column = 0, spaces, i
    cdef uint32_t c
    text_open(&text, self)
    cdef Points points = points_for(self, text.size)
    for i in range(text.size):
        c = text_at(&text, i)
        if c == 9:
            spaces = tab - column % tab if tab > 0 else 0
            points.add_many(32, spaces)
            column += spaces
        else:
            points_add(points, c)
            column = 0 if c == 10 or c == 13 else column + 1
    return points.become(text.is_str)


# --- one into the other -----------------------------------------------------------------------------------------------

cdef int open_as(text_t *text, object self, bint is_str) except -1:
    text_open(text, self)
    if text.is_str != is_str:
        raise TypeError(f"the method is not of {type(self).__name__}")
    return 0


def decode(self, encoding="utf-8", errors="strict"):
    cdef text_t text
    open_as(&text, self, False)
    return revealcodecs_decode(text_heap(self), text.data, text.size, revealcodecs_codec(encoding),
                               revealcodecs_errors(errors))


def encode(self, encoding="utf-8", errors="strict"):
    cdef text_t text
    open_as(&text, self, True)
    return revealcodecs_encode(self, revealcodecs_codec(encoding), revealcodecs_errors(errors))


def hex(self, sep=NONE_GIVEN, bytes_per_sep=1):
    cdef text_t text
    cdef int group = int_value(bytes_per_sep)
    cdef Py_ssize_t i, apart
    cdef int half
    open_as(&text, self, False)
    cdef Points points = points_for(self, 2 * text.size)
    cdef Argument between = None
    if sep is not NONE_GIVEN:
        between = text_argument(sep, isinstance(sep, str))
        if between.text.size != 1:
            raise ValueError("sep must be length 1.")
        if text_at(&between.text, 0) >= 128:
            raise ValueError("sep must be ASCII.")
    for i in range(text.size):
        apart = i if group < 0 else text.size - i
        if between is not None and i > 0 and group != 0 and apart % abs(group) == 0:
            points_add(points, text_at(&between.text, 0))
        for half in (text.data[i] >> 4, text.data[i] & 15):
            points_add(points, 48 + half + (39 if half > 9 else 0))   # by arithmetic, not by a table
    return points.become(True)


def translate_bytes(self, table, /, delete=b""):
    cdef text_t text
    cdef Argument mapped = None
    cdef text_t one
    cdef Py_ssize_t i
    open_as(&text, self, False)
    if table is not None:
        mapped = text_argument(table, False)
        if mapped.text.size != 256:
            raise ValueError("translation table must be 256 characters long")
    cdef Argument dropped = text_argument(delete, False)
    cdef Points points = points_for(self, text.size)
    one = text
    one.size = 1
    for i in range(text.size):
        one.data = text.data + i
        if text_find(&dropped.text, 0, &one) < 0:
            points_add(points, text.data[i] if mapped is None else mapped.text.data[text.data[i]])
    return points.become(False)


def translate_str(self, table, /):
    cdef text_t text
    cdef Py_ssize_t i
    cdef Argument mapped
    open_as(&text, self, True)
    cdef Points points = points_for(self, text.size)
    for i in range(text.size):
        try:
            value = table[<object>text_at(&text, i)]
        except LookupError:
            points_add(points, text_at(&text, i))
            continue
        if isinstance(value, int):
            if not 0 <= value <= 0x10ffff:
                raise ValueError("character mapping must be in range(0x110000)")
            points_add(points, value)
        elif isinstance(value, str):
            mapped = text_argument(value, True)
            points.add_range(&mapped.text, 0, mapped.text.size)
        elif value is not None:
            raise TypeError("character mapping must return integer, None or str")
    return points.become(True)


# --- itself, or not at all --------------------------------------------------------------------------------------------

def itself(self, *_memo):
    """It is immutable, and what is asked for already."""
    cdef text_t text
    text_open(&text, self)
    return self


def represent_as(self, specification, /):
    """format(), and `{...}` of an f-string."""
    cdef text_t text
    text_open(&text, self)
    if specification:
        raise TypeError("formatting works in ordinary memory: a revealed object has no width and no precision")
    return self if text.is_str else repr(self)


def not_pickled(self, *_protocol):
    raise TypeError("a revealed object is not pickled, as the pickle would be an ordinary copy; see secalloc.sharing")


def no_format(self, *_values, **_names):
    raise TypeError("formatting works in ordinary memory: a revealed object is no format")


COMMON = {
    "replace": replace, "join": join, "ljust": ljust, "rjust": rjust, "center": center, "zfill": zfill,
    "expandtabs": expandtabs, "__copy__": itself, "__deepcopy__": itself, "__format__": represent_as,
    "__reduce__": not_pickled, "__reduce_ex__": not_pickled, "__getnewargs__": not_pickled,
}
BYTES = {
    "decode": decode, "hex": hex, "translate": translate_bytes, "__bytes__": itself,
    "fromhex": staticmethod(bytes.fromhex),
}
STR = {"encode": encode, "translate": translate_str, "format": no_format, "format_map": no_format}


cdef int revealmethods_add(type_t *type, object name, dict methods) except -1:
    for each, method in methods.items():
        if not isinstance(method, staticmethod):
            method.__qualname__ = f"{name}.{each}"
        (<dict>type.tp_dict)[each] = method
    PyType_Modified(type)
    return 0


cdef int make(type_t *type, type_t *forked, dict methods, object name) except -1:
    type.tp_as_number.nb_add = add
    type.tp_as_number.nb_remainder = remainder
    type.tp_as_sequence.sq_concat = concat
    type.tp_as_sequence.sq_repeat = repeat
    type.tp_as_mapping.mp_subscript = subscript
    PyType_Ready(type)
    PyType_Ready(forked)
    revealforked_finish(forked)
    revealmethods_add(type, name, COMMON)
    return revealmethods_add(type, name, methods)


make(revealedbytes_type, revealedbytes_forked, BYTES, "RevealedBytes")
make(revealedstr_type, revealedstr_forked, STR, "RevealedStr")
