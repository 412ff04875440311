"""Layer 0 for Cython: prim.h's names, word for word. prim.h holds the glossary and the contracts."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "prim.h" nogil:
    bint likely(bint)
    bint unlikely(bint)
    enum:
        PAGE_BYTES, FRAME_SHIFT, FRAME_BYTES, PIECE_BYTES_MAX, SLACK_MIN, SLOT_BYTES_MIN
        SLAB_SLOTS_MAX, SLAB_WORDS_MAX, LINE_BYTES, DETAIL_BYTES
    enum:
        ERROR_NONE, ERROR_UNSUPPORTED, ERROR_FORBIDDEN, ERROR_FLAGS, ERROR_MEMLOCK, ERROR_MAP_COUNT, ERROR_FILES
        ERROR_FILE_SIZE, ERROR_MEMORY, ERROR_RANDOM, ERROR_ADDRESS_SPACE, ERROR_HEAP_LIMIT, ERROR_SIZE, ERROR_HEAPS
        ERROR_PAGE_SIZE, ERROR_INHERITED, ERROR_LOCKED, ERROR_OTHER

    void fatal_error(const char *phrase) noexcept

    void errno_set(int code) noexcept

    uint64_t atomic_load_relaxed(const uint64_t *p) noexcept
    uint64_t atomic_load_acquire(const uint64_t *p) noexcept
    void atomic_store_relaxed(uint64_t *p, uint64_t v) noexcept
    void atomic_store_release(uint64_t *p, uint64_t v) noexcept
    uint64_t atomic_or_release(uint64_t *p, uint64_t v) noexcept
    uint64_t atomic_and_acquire(uint64_t *p, uint64_t v) noexcept
    uint64_t atomic_add_relaxed(uint64_t *p, uint64_t v) noexcept
    uint64_t atomic_exchange(uint64_t *p, uint64_t v) noexcept
    void *atomic_load_pointer(void **p) noexcept
    void atomic_store_pointer(void **p, void *v) noexcept
    uint32_t atomic_load_32_relaxed(const uint32_t *p) noexcept
    uint32_t atomic_load_32_acquire(const uint32_t *p) noexcept
    void atomic_store_32_relaxed(uint32_t *p, uint32_t v) noexcept
    void atomic_store_32_release(uint32_t *p, uint32_t v) noexcept
    uint16_t atomic_load_16_relaxed(const uint16_t *p) noexcept
    uint16_t atomic_load_16_acquire(const uint16_t *p) noexcept
    void atomic_store_16_relaxed(uint16_t *p, uint16_t v) noexcept
    void atomic_store_16_release(uint16_t *p, uint16_t v) noexcept
    uint64_t atomic_set_clear_bit(uint64_t *word, unsigned bit) noexcept

    ctypedef struct lock_t:
        pass
    void lock_init(lock_t *lock) noexcept
    void lock_take(lock_t *lock) noexcept
    void lock_drop(lock_t *lock) noexcept

    unsigned bits_first(uint64_t word) noexcept
    unsigned bits_last(uint64_t word) noexcept
    unsigned bits_count(uint64_t word) noexcept
    uint64_t rotate_right(uint64_t word, unsigned by) noexcept
    bint size_add(size_t a, size_t b, size_t *sum) noexcept
    bint size_multiply(size_t a, size_t b, size_t *product) noexcept

    void touch_pages(const uint8_t *p, size_t size) noexcept
    void prefetch(const void *p) noexcept
    uint64_t load_64(const uint8_t *p) noexcept
    void store_64(uint8_t *p, uint64_t v) noexcept
    void pattern_fill(uint8_t *first, uint8_t *end, uint64_t pattern) noexcept
    uint64_t pattern_difference(const uint8_t *first, const uint8_t *end, uint64_t pattern) noexcept
    void copy_while_in_use(uint8_t *copy, const uint8_t *p, size_t size) noexcept
    void wipe(void *p, size_t size) noexcept
    void stack_scrub() noexcept
    bint lines_can_be_flushed() noexcept
    void flush_lines(uint8_t *p, size_t size) noexcept
    bint bytes_equal_constant_time(const uint8_t *a, const uint8_t *b, size_t size) noexcept

cdef extern from "zeros.h" nogil:
    enum:
        SAMPLE_ABOVE
    bint bytes_are_zero(const uint8_t *p, size_t size) noexcept
    bint bytes_are_zero_in_sample(const uint8_t *p, size_t size, unsigned random) noexcept
