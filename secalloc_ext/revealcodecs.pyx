# cython: language_level=3
"""Layer 4: UTF-8, ASCII and Latin-1, from secret memory to secret memory.

Any other codec is one of Python's, and works in ordinary memory: it is refused. Errors are told by their places; the
exceptions have none of the text in them, as Python's would have all of it.

What is not UTF-8 is cut as Python, and the Unicode standard, cut it: into the longest beginnings of what might be.
"""
from codecs import lookup

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from secalloc_ext.heap cimport heap_free
from secalloc_ext.heapobject cimport Heap, allocate
from secalloc_ext.prim cimport load_64
from secalloc_ext.revealedbytes cimport revealedbytes_new
from secalloc_ext.revealedstr cimport (
    revealed_str_t, revealedstr_adopt, revealedstr_of, revealedstr_of_ascii, revealedstr_ready)
from secalloc_ext.revealtext cimport Points, points_add, text_at, text_heap, text_open, text_t
from secalloc_ext.utf8 cimport is_surrogate, utf8_byte, utf8_length

CODECS = {"utf-8": CODEC_UTF8, "ascii": CODEC_ASCII, "iso8859-1": CODEC_LATIN1}
NAMES = {codec: name for name, codec in CODECS.items()}
ERRORS = {"strict": ERRORS_STRICT, "ignore": ERRORS_IGNORE, "replace": ERRORS_REPLACE,
          "surrogateescape": ERRORS_SURROGATEESCAPE, "surrogatepass": ERRORS_SURROGATEPASS}


cdef int revealcodecs_codec(object encoding) except -1:
    if not isinstance(encoding, str):
        raise TypeError(f"an encoding is a str, not {type(encoding).__name__}")
    name = encoding if encoding in CODECS else lookup(encoding).name
    if name not in CODECS:
        raise LookupError(f"{encoding!r} is none of utf-8, ascii and latin-1: Python's codec for it would leave the "
                          "text in ordinary memory")
    return CODECS[name]


cdef int revealcodecs_errors(object errors) except -1:
    if not isinstance(errors, str):
        raise TypeError(f"errors is a str, not {type(errors).__name__}")
    if errors not in ERRORS:
        raise LookupError(f"{errors!r} is none of {', '.join(ERRORS)}: another handler would be given the text")
    return ERRORS[errors]


# --- decoding ---------------------------------------------------------------------------------------------------------

cdef struct step_t:
    Py_ssize_t size        # bytes: of the character, or of what is none
    uint32_t c
    const char *wrong      # why it is none; or NULL


cdef step_t step_of(Py_ssize_t size, uint32_t c, const char *wrong) noexcept nogil:
    cdef step_t step
    step.size = size
    step.c = c
    step.wrong = wrong
    return step


cdef step_t utf8_step(const uint8_t *p, Py_ssize_t left) noexcept nogil:
    """The first character of `left` bytes, at least one."""
    cdef uint8_t low = 0x80, high = 0xbf
    cdef uint32_t c
    cdef Py_ssize_t i, size
    if p[0] < 0x80:
        return step_of(1, p[0], NULL)
    if not 0xc2 <= p[0] <= 0xf4:
        return step_of(1, 0, b"invalid start byte")
    size = 2 if p[0] < 0xe0 else 3 if p[0] < 0xf0 else 4
    c = p[0] & (0x7f >> size)
    if p[0] == 0xe0:      # what a shorter sequence says; surrogates; beyond U+10FFFF
        low = 0xa0
    elif p[0] == 0xed:
        high = 0x9f
    elif p[0] == 0xf0:
        low = 0x90
    elif p[0] == 0xf4:
        high = 0x8f
    for i in range(1, size):
        if i == left:
            return step_of(i, 0, b"unexpected end of data")
        if not low <= p[i] <= high:
            return step_of(i, 0, b"invalid continuation byte")
        low, high = 0x80, 0xbf
        c = c << 6 | p[i] & 0x3f
    return step_of(size, c, NULL)


cdef step_t next_step(int codec, const uint8_t *p, Py_ssize_t left) noexcept nogil:
    if codec == CODEC_UTF8:
        return utf8_step(p, left)
    if codec == CODEC_ASCII and p[0] >= 0x80:
        return step_of(1, 0, b"ordinal not in range(128)")
    return step_of(1, p[0], NULL)


cdef bint spells_surrogate(int codec, const uint8_t *p, Py_ssize_t left) noexcept nogil:
    """Whether a surrogate begins there, spelled as UTF-8 spells any other character of three bytes."""
    return codec == CODEC_UTF8 and left >= 3 and p[0] == 0xed and 0xa0 <= p[1] <= 0xbf and 0x80 <= p[2] <= 0xbf


cdef int add_undecodable(Points points, const uint8_t *p, const step_t *step, int errors) except -1:
    cdef Py_ssize_t i
    if errors == ERRORS_REPLACE:
        points_add(points, 0xfffd)
    elif errors == ERRORS_SURROGATEESCAPE:
        for i in range(step.size):
            points_add(points, 0xdc00 + p[i])
    return 0


cdef int refuse(int codec, Py_ssize_t i, const step_t *step) except -1:
    raise UnicodeDecodeError(NAMES[codec], b"", i, i + step.size,
                             f"{(<bytes>step.wrong).decode()}, at byte {i} of bytes that are not shown here")


cdef void write_points(void *to, int kind, const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Decode what is UTF-8."""
    cdef Py_ssize_t i = 0, length = 0
    cdef step_t step
    while i < size:
        step = utf8_step(data + i, size - i)
        if kind == 1:
            (<uint8_t *>to)[length] = <uint8_t>step.c
        elif kind == 2:
            (<uint16_t *>to)[length] = <uint16_t>step.c
        else:
            (<uint32_t *>to)[length] = step.c
        length += 1
        i += step.size


cdef object decode_utf8(Heap heap, const uint8_t *data, Py_ssize_t size):
    """Look at all of it, then decode it into its place. What is not UTF-8 is refused."""
    cdef Py_ssize_t i = 0, length = 0
    cdef uint32_t bits = 0
    cdef int kind
    cdef step_t step
    cdef void *characters
    cdef void *utf8
    while i < size:
        step = utf8_step(data + i, size - i)
        if step.wrong != NULL:
            refuse(CODEC_UTF8, i, &step)
        bits |= step.c
        length += 1
        i += step.size
    kind = 1 if bits < 0x100 else 2 if bits < 0x10000 else 4
    characters = allocate(heap, (length + 1) * kind, False)
    try:
        utf8 = allocate(heap, size + 1, False)
    except BaseException:
        heap_free(characters)
        raise
    write_points(characters, kind, data, size)
    memcpy(utf8, data, <size_t>size)
    return revealedstr_adopt(heap, characters, utf8, size, length, kind)


cdef object decode_slowly(Heap heap, const uint8_t *data, Py_ssize_t size, int codec, int errors):
    cdef Points points = Points.__new__(Points)
    cdef Py_ssize_t i = 0
    cdef step_t step
    points.heap = heap
    points.grow(size)
    while i < size:
        step = next_step(codec, data + i, size - i)
        if step.wrong != NULL and errors == ERRORS_SURROGATEPASS and spells_surrogate(codec, data + i, size - i):
            step = step_of(3, 0xd000 | (data[i + 1] & 0x3f) << 6 | (data[i + 2] & 0x3f), NULL)
        if step.wrong == NULL:
            points_add(points, step.c)
        elif errors == ERRORS_STRICT or errors == ERRORS_SURROGATEPASS:
            refuse(codec, i, &step)
        else:
            add_undecodable(points, data + i, &step, errors)
        i += step.size
    return points.become(True)


cdef bint is_ascii(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef uint64_t bits = 0
    cdef Py_ssize_t i = 0
    while i + 8 <= size:
        bits |= load_64(data + i)
        i += 8
    while i < size:
        bits |= data[i]
        i += 1
    return bits & <uint64_t>0x8080808080808080 == 0


cdef object revealcodecs_decode(Heap heap, const unsigned char *data, Py_ssize_t size, int codec, int errors):
    if is_ascii(data, size):
        return revealedstr_of_ascii(heap, data, size)
    if codec == CODEC_LATIN1:
        return revealedstr_of(heap, data, 1, size)
    if codec == CODEC_UTF8 and errors == ERRORS_STRICT:
        revealedstr_ready(heap)
        return decode_utf8(heap, data, size)
    return decode_slowly(heap, data, size, codec, errors)


# --- encoding ---------------------------------------------------------------------------------------------------------

cdef int add_utf8(Points points, uint32_t c) except -1:
    cdef int i, length = utf8_length(c)
    for i in range(length):
        points_add(points, utf8_byte(c, i, length))
    return 0


cdef int add_unencodable(Points points, uint32_t c, Py_ssize_t i, int codec, int errors) except -1:
    if errors == ERRORS_REPLACE:
        points_add(points, 63)   # ?
    elif errors == ERRORS_SURROGATEESCAPE and 0xdc80 <= c <= 0xdcff:
        points_add(points, c - 0xdc00)
    elif errors == ERRORS_SURROGATEPASS and codec == CODEC_UTF8 and is_surrogate(c):
        add_utf8(points, c)
    elif errors != ERRORS_IGNORE:
        raise UnicodeEncodeError(NAMES[codec], "", i, i + 1,
                                 f"not encodable, at character {i} of a text that is not shown here")
    return 0


cdef object encode_slowly(object revealed, const text_t *text, int codec, int errors):
    cdef Points points = Points.__new__(Points)
    cdef Py_ssize_t i
    cdef uint32_t c
    points.heap = text_heap(revealed)
    points.grow(text.size)
    for i in range(text.size):
        c = text_at(text, i)
        if codec == CODEC_UTF8 and not is_surrogate(c):
            add_utf8(points, c)
        elif codec != CODEC_UTF8 and c < (0x80 if codec == CODEC_ASCII else 0x100):
            points_add(points, c)
        else:
            add_unencodable(points, c, i, codec, errors)
    return points.become(False)


cdef object revealcodecs_encode(object revealed, int codec, int errors):
    cdef revealed_str_t *self = <revealed_str_t *><PyObject *>revealed
    cdef unsigned char *payload = NULL
    cdef text_t text
    text_open(&text, revealed)
    if self.utf8 == NULL or codec != CODEC_UTF8 and self.utf8 != self.characters:
        return encode_slowly(revealed, &text, codec, errors)
    made = revealedbytes_new(text_heap(revealed), self.utf8_size, &payload)   # ASCII as any codec has it
    memcpy(payload, self.utf8, <size_t>self.utf8_size)
    return made
