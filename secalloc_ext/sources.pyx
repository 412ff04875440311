# cython: language_level=3
"""Layer 4: bytes from elsewhere, straight into a slot of a heap.

A slot that is being filled belongs to no Python object: where reads and getrandom(2) release the GIL, no other thread
can get at it, not even through the garbage collector. An object takes it over when it is full.

Copies from memory hold the GIL from the look at the source to the last byte.
"""
from cpython.buffer cimport (
    PyBUF_FULL_RO, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from libc.string cimport memcpy
from secalloc_ext.arguments cimport hex_digit
from secalloc_ext.errors import WipedError
from secalloc_ext.heap cimport heap_free, heap_realloc
from secalloc_ext.heapobject cimport Heap, raise_error
from secalloc_ext.mapping cimport mapping_random
from secalloc_ext.prim cimport ERROR_NONE, wipe


cdef int source_random(filled_t *to, Py_ssize_t size, Heap heap, bint guarded) except -1:
    cdef int error
    source_zeros(to, size, heap, guarded)
    with nogil:
        error = mapping_random(to.data, <size_t>size)
    if error != ERROR_NONE:
        heap_free(to.data)
        PyErr_SetFromErrno(OSError)
    return 0


# --- memory ---

cdef unsigned char *copy_items(unsigned char *to, const char *items, const Py_buffer *view, int dimension) noexcept:
    """Copy what one dimension holds, in C order, straight to `to`; answers where it ends. PyBuffer_ToContiguous would
    leave each row in ordinary memory as well."""
    cdef Py_ssize_t i
    cdef const char *item
    for i in range(view.shape[dimension]):
        item = items + i * view.strides[dimension]
        if view.suboffsets != NULL and view.suboffsets[dimension] >= 0:
            item = (<const char **>item)[0] + view.suboffsets[dimension]
        if dimension + 1 < view.ndim:
            to = copy_items(to, item, view, dimension + 1)
        else:
            memcpy(to, item, <size_t>view.itemsize)
            to += view.itemsize
    return to


cdef int source_buffer(filled_t *to, object buffer, Heap heap, bint guarded) except -1:
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_FULL_RO)
    try:
        source_zeros(to, view.len, heap, guarded)
        if PyBuffer_IsContiguous(&view, b"C"):
            memcpy(to.data, view.buf, <size_t>view.len)
        elif view.len > 0:
            copy_items(to.data, <const char *>view.buf, &view, 0)
    finally:
        PyBuffer_Release(&view)
    return 0


cdef int source_taken(filled_t *to, object buffer, Heap heap) except -1:
    cdef Py_buffer view
    try:
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    except (BufferError, ValueError) as error:
        if isinstance(error, WipedError):
            raise
        raise TypeError(f"take() wipes its source, and {type(buffer).__name__} has no writable buffer") from error
    try:
        source_zeros(to, view.len, heap, False)
        memcpy(to.data, view.buf, <size_t>view.len)
        wipe(view.buf, <size_t>view.len)
    finally:
        PyBuffer_Release(&view)
    return 0


# --- text ---

cdef int source_text(filled_t *to, str text, encoding, errors, Heap heap, bint guarded) except -1:
    """Encode; the codec's own result is wiped, unless it is one of CPython's shared objects."""
    cdef bytes plain = text.encode(encoding, errors)
    try:
        source_buffer(to, plain, heap, guarded)
    finally:
        if PyBytes_GET_SIZE(plain) > 1:
            wipe(PyBytes_AS_STRING(plain), <size_t>PyBytes_GET_SIZE(plain))
    return 0


cdef int source_resize(filled_t *to, Py_ssize_t size, Heap heap) except -1:
    cdef void *resized = heap_realloc(heap.get(), to.data, <size_t>size, False)
    if resized == NULL:
        heap_free(to.data)
        to.data = NULL  # for callers that free it whatever the error was
        raise_error(heap.get(), size)
    to.data = <unsigned char *>resized
    to.size = size
    return 0


cdef Py_ssize_t decode_hex(filled_t *text, Py_ssize_t *count) noexcept:
    """Put the bytes that `text` spells in its place; answers where a digit is missing, or -1."""
    cdef Py_ssize_t i = 0
    cdef int high, low
    count[0] = 0
    while i < text.size:
        if text.data[i] in b" \t\n\r\v\f":
            i += 1
            continue
        high = hex_digit(text.data[i])
        low = hex_digit(text.data[i + 1]) if i + 1 < text.size else -1
        if high < 0 or low < 0:
            return i if high < 0 else i + 1
        text.data[count[0]] = <unsigned char>(high << 4 | low)
        count[0] += 1
        i += 2
    return -1


cdef int source_hex(filled_t *to, object digits, Heap heap) except -1:
    cdef Py_ssize_t count, wrong
    if not isinstance(digits, str):
        source_buffer(to, digits, heap, False)
    elif digits.isascii():
        source_text(to, digits, "ascii", "strict", heap, False)
    else:
        raise ValueError("non-hexadecimal number found in fromhex() arg")
    wrong = decode_hex(to, &count)
    if wrong >= 0:
        heap_free(to.data)
        raise ValueError(f"non-hexadecimal number found in fromhex() arg at position {wrong}")
    wipe(to.data + count, <size_t>(to.size - count))
    return source_resize(to, count, heap)
