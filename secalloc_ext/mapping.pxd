"""Layer 1: address space and pages. The only file that makes system calls; every failure is one ERROR_* of prim.h."""
from libc.stdint cimport uint8_t, uint64_t

cdef enum backend_t:
    BACKEND_SECRETMEM = 1  # memfd_secret: absent from the kernel's direct map
    BACKEND_MLOCK = 2      # anonymous, locked, left out of core dumps; visible to root

cdef enum access_t:
    ACCESS_NONE = 0
    ACCESS_READ = 1
    ACCESS_READ_WRITE = 2

cdef enum key_t:
    KEY_NONE = -1          # no protection key: mprotect(2) alone
    KEY_UNASKED = 0        # also the key of pages that everybody may use

ctypedef void (*fork_handler_t)() noexcept nogil

cdef int mapping_check_machine() noexcept nogil                            # ERROR_NONE, or why nothing will work
cdef size_t mapping_address_space() noexcept nogil                         # bytes that RLIMIT_AS lets us reserve
cdef uint8_t *mapping_reserve(size_t size) noexcept nogil                  # PROT_NONE, uncounted; NULL when refused
cdef void mapping_unreserve(uint8_t *first, size_t size) noexcept nogil
cdef int mapping_commit(uint8_t *first, size_t size) noexcept nogil        # ordinary zeroed memory, without secrets
cdef int mapping_probe(unsigned flags) noexcept nogil                      # would memfd_secret(flags) work?
cdef bint mapping_counts_touches() noexcept nogil                          # RLIMIT_MEMLOCK: pages touched, not mapped
cdef int mapping_create(uint8_t *first, size_t piece, size_t stride, size_t count, int backend,
                        unsigned flags, bint inherited, size_t *left) noexcept nogil  # pieces `stride` bytes apart
cdef int mapping_move(uint8_t *first, uint8_t *to, size_t size, int backend) noexcept nogil  # not inherited any more
cdef int mapping_release(uint8_t *first, size_t span) noexcept nogil       # back to PROT_NONE; the pages are gone
cdef int mapping_protect(uint8_t *first, size_t size, int access, int key) noexcept nogil
cdef int mapping_seal(uint8_t *first, size_t size) noexcept nogil          # no change of these mappings any more
cdef int mapping_key_create() noexcept nogil                               # denied to every thread; or KEY_NONE
cdef bint mapping_key_allow(int key, bint allow) noexcept nogil            # this thread; was it allowed?
cdef int mapping_random(void *buffer, size_t size) noexcept nogil          # getrandom, whole
cdef uint64_t *mapping_fork_word() noexcept nogil                           # 0 in a child, however it was made; or NULL
cdef void mapping_pause() noexcept nogil                                   # let other threads run for a moment
cdef int mapping_at_fork(fork_handler_t prepare, fork_handler_t parent, fork_handler_t child) noexcept nogil
