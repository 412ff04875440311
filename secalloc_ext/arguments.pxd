"""Layer 4: what a bytearray takes as a size, a byte, a slice or a hex digit, and how it refuses the rest."""


cdef inline Py_ssize_t index_size(object size) except -1:
    """A size as bytearray takes it: OverflowError above Py_ssize_t, ValueError below 0."""
    cdef Py_ssize_t count = size
    if count < 0:
        raise ValueError("negative count")
    return count


cdef inline bint is_size(object source, Py_ssize_t *size) except -1:
    """Whether it is a number of bytes to make. An __index__ that refuses, as that of NumPy's arrays, makes it none."""
    if not hasattr(type(source), "__index__"):
        return False
    try:
        size[0] = index_size(source)
    except TypeError:
        return False
    return True


cdef inline int byte_value(object value) except -1:
    cdef Py_ssize_t byte
    if not hasattr(type(value), "__index__"):
        raise TypeError(f"'{type(value).__name__}' object cannot be interpreted as an integer")
    try:
        byte = value
    except OverflowError:
        byte = -1
    if not 0 <= byte <= 255:
        raise ValueError("byte must be in range(0, 256)")
    return <int>byte


cdef inline Py_ssize_t slice_length(Py_ssize_t start, Py_ssize_t stop, Py_ssize_t step) noexcept:
    if step > 0:
        return (stop - start + step - 1) // step if stop > start else 0
    return (start - stop - step - 1) // -step if start > stop else 0


cdef inline int hex_digit(Py_UCS4 character) noexcept:
    """0-15 by arithmetic, not by a table that a cache would tell of; -1 for anything else."""
    cdef int c = <int>character if character < 128 else 0
    cdef int digit = (c - 48) if 48 <= c <= 57 else -1
    c |= 32
    return c - 87 if 97 <= c <= 102 else digit
