# cython: language_level=3
"""Layer 4: looks for every part of a secret at once, for the scanner of other processes' memory.

A copy may be in pieces, each of them in an order of its own: a block of a matrix, the half of a sorted array, the end
of a buffer. So what is looked for is every window of `width` bytes of a secret, however many they are: one load, one
multiplication and one bit for each byte looked at, and a hash table where that bit is set.
"""
cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

cdef enum:
    FILTER_BITS = 20        # a filter of 128 KiB, which stays in the processor's cache
    WORD = 8                # the hash is of a window's first bytes
    DISTINCT_MIN = 5        # fewer different bytes than that may be anything: zeros, small numbers, a repeated letter

cdef uint64_t FIBONACCI = 0x9E3779B97F4A7C15    # 2**64 / golden ratio: Knuth, The Art of Computer Programming 3, 6.4


cdef inline uint64_t hash_of(const unsigned char *window) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, window, WORD)
    return word * FIBONACCI


cdef bint is_telling(const unsigned char *window, size_t width) noexcept nogil:
    cdef size_t i, j, distinct = 0
    for i in range(width):
        for j in range(i):
            if window[j] == window[i]:
                break
        else:
            distinct += 1
    return distinct >= DISTINCT_MIN


@cython.final
cdef class Windows:
    """All windows of some secrets, to be looked for together.

    Parameters
    ----------
    secrets : bytes of any kind
    width : of a window, in bytes, 8 or more. Fewer than about 2**-64 times the memory looked through are found by
        chance, if the bytes are random; text needs more.
    step : from one window to the next, in bytes: the size of an item

    Raises
    ------
    ValueError : no window tells anything: the secrets are shorter than one, or always the same byte
    """
    cdef list secrets
    cdef size_t width
    cdef uint64_t *filter
    cdef const unsigned char **table
    cdef uint32_t *which
    cdef int table_shift        # 64 less the logarithm of the table's places
    cdef readonly size_t count  # windows looked for

    def __cinit__(self, secrets, size_t width=WORD, size_t step=1):
        cdef size_t places = 16, size, i
        cdef const unsigned char *first
        cdef uint32_t index = 0
        if width < WORD or step < 1:
            raise ValueError("a window is 8 bytes or more, and a step 1 or more")
        self.secrets = [bytes(secret) for secret in secrets]
        self.width = width
        self.table_shift = 60
        while places < 4 * sum(len(secret) // step for secret in self.secrets):
            places *= 2
            self.table_shift -= 1
        self.filter = <uint64_t *>calloc((1 << FILTER_BITS) // 64, sizeof(uint64_t))
        self.table = <const unsigned char **>calloc(places, sizeof(char *))
        self.which = <uint32_t *>calloc(places, sizeof(uint32_t))
        if self.filter == NULL or self.table == NULL or self.which == NULL:
            raise MemoryError()
        for secret in self.secrets:
            first, size = secret, len(secret)
            for i in range(0, size - width + 1 if size >= width else 0, step):
                if is_telling(first + i, width):
                    self.add(first + i, index)
            index += 1
        if self.count == 0:
            raise ValueError("no window of the secrets tells anything")

    def __dealloc__(self):
        free(self.filter)
        free(self.table)
        free(self.which)

    def __reduce__(self):
        raise TypeError("what is looked for cannot be pickled")

    cdef void add(self, const unsigned char *window, uint32_t index) noexcept:
        cdef uint64_t hashed = hash_of(window), bit = hashed >> (64 - FILTER_BITS)
        cdef uint64_t place = hashed >> self.table_shift, mask = (<uint64_t>1 << (64 - self.table_shift)) - 1
        self.filter[bit >> 6] |= <uint64_t>1 << (bit & 63)
        while self.table[place] != NULL:
            if memcmp(self.table[place], window, self.width) == 0:
                return
            place = (place + 1) & mask
        self.table[place] = window
        self.which[place] = index
        self.count += 1

    cdef int at(self, const unsigned char *here, uint64_t hashed) noexcept nogil:
        """Which secret has a window that lies here; -1: none."""
        cdef uint64_t place = hashed >> self.table_shift, mask = (<uint64_t>1 << (64 - self.table_shift)) - 1
        while self.table[place] != NULL:
            if memcmp(self.table[place], here, self.width) == 0:
                return <int>self.which[place]
            place = (place + 1) & mask
        return -1

    def find(self, data not None):
        """Where in `data` a window lies: offsets, and the index of the secret it is of."""
        cdef const unsigned char[::1] view = data
        cdef size_t size = <size_t>view.shape[0], i
        cdef const unsigned char *first
        cdef const uint64_t *filter = self.filter
        cdef uint64_t hashed, bit
        cdef int index
        found = []
        if size < self.width:
            return found
        first = &view[0]
        with nogil:
            for i in range(size - self.width + 1):
                hashed = hash_of(first + i)
                bit = hashed >> (64 - FILTER_BITS)
                if (filter[bit >> 6] >> (bit & 63)) & 1:
                    index = self.at(first + i, hashed)
                    if index >= 0:
                        with gil:
                            found.append((i, index))
        return found
