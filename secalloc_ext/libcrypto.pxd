"""Layer 5: a libcrypto of this process, and its allocations on secret pages."""
cdef enum:
    WATCHED_MAX = 32          # blocks
    WATCHED_BYTES_MIN = 512   # of each: what is smaller is not kept

ctypedef struct watch_t:      # the blocks that one thread's libcrypto allocated
    void *blocks[WATCHED_MAX]
    size_t count

cdef void crypto_watch(watch_t *watch) noexcept     # from here on; NULL: no longer

cdef class Library:
    cdef void *handle                # of the file that needs or has it; never closed
    cdef size_t base                 # where that file is loaded
    cdef dict inside                 # functions that it has and does not export: name to elfsymbols.Found
    cdef readonly str needed_by      # that file, or "" for the interpreter itself
    cdef readonly str path           # where libcrypto's code is
    cdef readonly str version
    cdef void *function(self, bytes name) except NULL
    cdef bint lands(self) except -1
