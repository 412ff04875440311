# cython: language_level=3
"""Layer 4: capitals and small letters of revealed objects.

Of str, what a character becomes is asked of Python one character at a time: none of it tells the text. But a capital
sigma becomes another letter at a word's end than inside, and what a word is depends on two properties of characters
that Python does not tell; they are found out by what it makes of a sigma beside the character.
"""
from libc.stdint cimport uint32_t
from secalloc_ext.revealedbytes cimport revealedbytes_type
from secalloc_ext.revealedstr cimport revealedstr_type
from secalloc_ext.revealmethods cimport revealmethods_add
from secalloc_ext.revealtext cimport Argument, Points, points_add, points_for, text_argument, text_at, text_open, text_t

cdef enum:
    SIGMA = 0x3a3
    SMALL_SIGMA = 0x3c3
    FINAL_SIGMA = 0x3c2

cdef enum case_t:
    CASE_LOWER
    CASE_UPPER
    CASE_TITLE
    CASE_FOLD


cdef Points open_points(text_t *text, object self):
    text_open(text, self)
    return points_for(self, text.size)


# --- one character ----------------------------------------------------------------------------------------------------

cdef bint is_cased(uint32_t c):
    """Whether a title goes on in small letters behind it."""
    return (<Py_UCS4>c).isalpha() if c < 128 else f"{<Py_UCS4>c}a".title()[-1] == "a"


cdef bint is_ignorable(uint32_t c):
    """Whether the word goes on behind it, if it does: what follows makes the sigma before it another letter."""
    if is_cased(c):
        return f"a\u03a3{<Py_UCS4>c}".lower()[1] == "\u03c2"
    return f"a\u03a3{<Py_UCS4>c}a".lower()[1] == "\u03c3"


cdef bint is_final(const text_t *text, Py_ssize_t i):
    """Whether a sigma ends a word: a cased character before it, none behind it, ignorable ones left out."""
    cdef Py_ssize_t j = i - 1
    while j >= 0 and is_ignorable(text_at(text, j)):
        j -= 1
    if j < 0 or not is_cased(text_at(text, j)):
        return False
    j = i + 1
    while j < text.size and is_ignorable(text_at(text, j)):
        j += 1
    return j == text.size or not is_cased(text_at(text, j))


cdef int add_ascii(Points points, uint32_t c, int case) except -1:
    if case == CASE_UPPER or case == CASE_TITLE:
        return points_add(points, c - 32 if 97 <= c <= 122 else c)
    return points_add(points, c + 32 if 65 <= c <= 90 else c)


cdef int add_case(Points points, const text_t *text, Py_ssize_t i, int case) except -1:
    cdef uint32_t c = text_at(text, i)
    cdef Argument made
    if c < 128 or not text.is_str:
        return add_ascii(points, c, case)
    if c == SIGMA and case == CASE_LOWER:
        return points_add(points, FINAL_SIGMA if is_final(text, i) else SMALL_SIGMA)
    one = chr(c)
    one = (one.lower() if case == CASE_LOWER else one.upper() if case == CASE_UPPER
           else one.title() if case == CASE_TITLE else one.casefold())
    made = text_argument(one, True)
    return points.add_range(&made.text, 0, made.text.size)


# --- methods ----------------------------------------------------------------------------------------------------------

cdef object all_in(object self, int case):
    cdef text_t text
    cdef Points points = open_points(&text, self)
    cdef Py_ssize_t i
    for i in range(text.size):
        add_case(points, &text, i, case)
    return points.become(text.is_str)


def lower(self):
    return all_in(self, CASE_LOWER)


def upper(self):
    return all_in(self, CASE_UPPER)


def casefold(self):
    return all_in(self, CASE_FOLD)


def capitalize(self):
    cdef text_t text
    cdef Points points = open_points(&text, self)
    cdef Py_ssize_t i
    for i in range(text.size):
        add_case(points, &text, i, CASE_LOWER if i > 0 else CASE_TITLE)
    return points.become(text.is_str)


def swapcase(self):
    cdef text_t text
    cdef Points points = open_points(&text, self)
    cdef Py_ssize_t i
    cdef uint32_t c
    for i in range(text.size):
        c = text_at(&text, i)
        if c >= 128 and not text.is_str:
            points_add(points, c)
        elif (<Py_UCS4>c).isupper():
            add_case(points, &text, i, CASE_LOWER)
        elif (<Py_UCS4>c).islower():
            add_case(points, &text, i, CASE_UPPER)
        else:
            points_add(points, c)
    return points.become(text.is_str)


def title(self):
    cdef text_t text
    cdef Points points = open_points(&text, self)
    cdef bint inside = False
    cdef Py_ssize_t i
    cdef uint32_t c
    for i in range(text.size):
        c = text_at(&text, i)
        add_case(points, &text, i, CASE_LOWER if inside else CASE_TITLE)
        inside = is_cased(c) if c < 128 or text.is_str else False
    return points.become(text.is_str)


METHODS = {"lower": lower, "upper": upper, "capitalize": capitalize, "swapcase": swapcase, "title": title}
revealmethods_add(revealedbytes_type, "RevealedBytes", METHODS)
revealmethods_add(revealedstr_type, "RevealedStr", METHODS | {"casefold": casefold})
