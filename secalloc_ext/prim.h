/* Layer 0: what every other layer is made of. Types, constants and `static inline` functions only: a variable here
 * would be one copy for each extension module that includes the file.
 *
 * Glossary (the same words everywhere, in code, tests and documents)
 *   reservation   the address space that holds every object, PROT_NONE until a chunk is mapped into it
 *   frame         FRAME_BYTES of the reservation; each begins with an unmapped guard page
 *   chunk         a run of frames backed by one memfd_secret file, mapped as one piece a frame (slabs) or as one
 *                 piece over all of them (a large object); the unit of release
 *   slab          one piece cut into equal slots of one size class
 *   slot          room for one small object: the object first, slack after it
 *   slack         the slot's bytes beyond the requested size, at least SLACK_MIN; holds the canary
 *   canary        the pattern of the slab's secret that fills the slack of a live slot
 *   guard page    a page that is never mapped, so that touching it ends the process
 *   large object  one that no size class holds: whole pages between guard pages
 *   thread cache  a thread's own stock of free slots in one heap
 *
 * Contract of the functions: no locks held, no system call (but for fatal_error), no errno touched, any thread.
 */
#ifndef SECALLOC_PRIM_H
#define SECALLOC_PRIM_H

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "secalloc: the canary is laid out for little-endian machines"
#endif
#if !defined(__linux__) || !defined(__LP64__)
#error "secalloc: needs a 64-bit Linux"
#endif

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* --- constants (bytes unless named otherwise) ------------------------------------------------------------------ */

enum {
    PAGE_BYTES = 4096,
    FRAME_SHIFT = 17,
    FRAME_BYTES = 1 << FRAME_SHIFT,
    PIECE_BYTES_MAX = FRAME_BYTES - PAGE_BYTES, /* a frame less its guard page */
    SLACK_MIN = 8,
    SLOT_BYTES_MIN = 16,
    SLAB_SLOTS_MAX = PIECE_BYTES_MAX / SLOT_BYTES_MIN,
    SLAB_WORDS_MAX = (SLAB_SLOTS_MAX + 63) / 64,
    LINE_BYTES = 64,
    /* A slab's bitmap and states, and two bitmaps for forks: an odd number of cache lines, so that those of neighbouring
     * slabs fall into different cache sets. */
    DETAIL_BYTES = ((3 * SLAB_WORDS_MAX * 8 + SLAB_SLOTS_MAX * 2 + LINE_BYTES - 1) / LINE_BYTES | 1) * LINE_BYTES,
};

/* Why a layer below Python could not do what was asked. errors.py has one exception and one remedy for each. */
enum {
    ERROR_NONE = 0,
    ERROR_UNSUPPORTED,   /* memfd_secret: ENOSYS */
    ERROR_FORBIDDEN,     /* memfd_secret: EPERM, a seccomp profile */
    ERROR_FLAGS,         /* memfd_secret: EINVAL, flags this kernel does not know */
    ERROR_MEMLOCK,       /* mmap: EAGAIN; mlock: ENOMEM, EPERM, EAGAIN */
    ERROR_MAP_COUNT,     /* mmap, mprotect of a piece: ENOMEM, vm.max_map_count */
    ERROR_FILES,         /* memfd_secret: EMFILE, ENFILE */
    ERROR_FILE_SIZE,     /* ftruncate: EFBIG, RLIMIT_FSIZE */
    ERROR_MEMORY,        /* ordinary memory for records: calloc, mprotect of metadata, pthread_*: ENOMEM */
    ERROR_RANDOM,        /* getrandom */
    ERROR_ADDRESS_SPACE, /* the reservation is full, or RLIMIT_AS leaves no room for one */
    ERROR_HEAP_LIMIT,    /* the heap's own limit */
    ERROR_SIZE,          /* a size that no machine has, or an alignment that is none */
    ERROR_HEAPS,         /* too many heaps */
    ERROR_PAGE_SIZE,     /* pages of other than PAGE_BYTES */
    ERROR_INHERITED,     /* the object belongs to the process that forked this one */
    ERROR_LOCKED,        /* the heap is locked, and this thread is not let in */
    ERROR_OTHER,         /* an errno that none of the above explains */
};

/* --- the end ---------------------------------------------------------------------------------------------------- */

/* Ends the process after one fixed phrase on standard error. Async-signal-safe; prints nothing but the phrase. */
__attribute__((noreturn, cold, noinline, unused)) static void fatal_error(const char *phrase)
{
    static const char prefix[] = "secalloc: ";
    char line[128];
    size_t length = strnlen(phrase, sizeof line - sizeof prefix - 1);
    memcpy(line, prefix, sizeof prefix - 1);
    memcpy(line + sizeof prefix - 1, phrase, length);
    line[sizeof prefix - 1 + length] = '\n';
    ssize_t written = write(STDERR_FILENO, line, sizeof prefix + length);
    (void)written; /* there is nowhere left to report to */
    abort();
}

/* errno, as an assignment that Cython does not take for a local variable. */
static inline void errno_set(int code) { errno = code; }

/* --- atomics, the order in the name, and the bits where they are not 64 ------------------------------------------ */

static inline uint64_t atomic_load_relaxed(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline uint64_t atomic_load_acquire(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void atomic_store_relaxed(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
static inline void atomic_store_release(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
static inline uint64_t atomic_or_release(uint64_t *p, uint64_t v) { return __atomic_fetch_or(p, v, __ATOMIC_RELEASE); }
static inline uint64_t atomic_and_acquire(uint64_t *p, uint64_t v) { return __atomic_fetch_and(p, v, __ATOMIC_ACQUIRE); }
static inline uint64_t atomic_add_relaxed(uint64_t *p, uint64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_RELAXED); }
static inline uint64_t atomic_exchange(uint64_t *p, uint64_t v) { return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL); }
static inline void *atomic_load_pointer(void *const *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void atomic_store_pointer(void **p, void *v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
static inline uint32_t atomic_load_32_relaxed(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline uint32_t atomic_load_32_acquire(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void atomic_store_32_relaxed(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
static inline void atomic_store_32_release(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
static inline uint16_t atomic_load_16_relaxed(const uint16_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline uint16_t atomic_load_16_acquire(const uint16_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void atomic_store_16_relaxed(uint16_t *p, uint16_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
static inline void atomic_store_16_release(uint16_t *p, uint16_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

/* Sets one bit that is clear; the answer is the word before it. That the bit is clear is the caller's affair: where the
 * answer shows that it was set, the word is spoiled. An addition, as x86 has one that answers the old word. */
static inline uint64_t atomic_set_clear_bit(uint64_t *word, unsigned bit)
{
    return __atomic_fetch_add(word, UINT64_C(1) << bit, __ATOMIC_ACQ_REL);
}

/* --- lock: an adaptive mutex. After lock_init it may be taken; a forked child makes it anew with lock_init. ------ */

typedef pthread_mutex_t lock_t;

static inline void lock_init(lock_t *lock)
{
    static const pthread_mutex_t fresh = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
    *lock = fresh;
}
static inline void lock_take(lock_t *lock)
{
    if (unlikely(pthread_mutex_lock(lock) != 0))
        fatal_error("lock cannot be taken");
}
static inline void lock_drop(lock_t *lock)
{
    if (unlikely(pthread_mutex_unlock(lock) != 0))
        fatal_error("lock is not held");
}

/* --- bits --------------------------------------------------------------------------------------------------------- */

static inline unsigned bits_first(uint64_t word) { return (unsigned)__builtin_ctzll(word); }  /* word != 0 */
static inline unsigned bits_last(uint64_t word) { return 63u - (unsigned)__builtin_clzll(word); } /* word != 0 */
static inline unsigned bits_count(uint64_t word) { return (unsigned)__builtin_popcountll(word); }
static inline uint64_t rotate_right(uint64_t word, unsigned by) { return word >> (by & 63) | word << (-by & 63); }
static inline int size_add(size_t a, size_t b, size_t *sum) { return __builtin_add_overflow(a, b, sum); }
static inline int size_multiply(size_t a, size_t b, size_t *product) { return __builtin_mul_overflow(a, b, product); }

/* Touch pages for the first time: a read does, as they are shared memory to the kernel. */
__attribute__((unused)) static void touch_pages(const uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size; i += PAGE_BYTES)
        (void)*(const volatile uint8_t *)(p + i);
}

/* Have a line brought to the cache meanwhile. Any address: it never faults. */
static inline void prefetch(const void *p) { __builtin_prefetch(p, 1); }

/* --- bytes -------------------------------------------------------------------------------------------------------- */

typedef uint64_t unaligned_64 __attribute__((may_alias, aligned(1)));
typedef uint64_t vector_16 __attribute__((vector_size(16), may_alias));

static inline uint64_t load_64(const uint8_t *p) { return *(const unaligned_64 *)p; }
static inline void store_64(uint8_t *p, uint64_t v) { *(unaligned_64 *)p = v; }

/* Copies what another thread may be writing at the moment: what it has half written is half copied. The one data race by
 * intent, of which ThreadSanitizer is not to tell; so it must not become a call of memcpy there (it does not before -O3).
 * `size` is a multiple of 16, the addresses are of 16. */
__attribute__((no_sanitize("thread"), noinline, unused)) static void copy_while_in_use(uint8_t *copy, const uint8_t *p,
                                                                                       size_t size)
{
    for (size_t i = 0; i < size; i += 16)
        *(vector_16 *)(copy + i) = *(const vector_16 *)(p + i);
}

/* Zeroes and cannot be optimised away: the compiler must assume that somebody reads the bytes afterwards. */
static inline void wipe(void *p, size_t size)
{
    memset(p, 0, size);
    __asm__ volatile("" : : "r"(p) : "memory");
}

/* Wipes what functions that have just returned left below the caller's frame: glibc's memmem makes a table of the needle
 * there, of at most 2 KiB, from which the needle can be told. */
__attribute__((noinline, unused)) static void stack_scrub(void)
{
    uint8_t below[3 * 1024];
    wipe(below, sizeof below);
}

/* Eight bytes over and over, as often as they fit between `first` and `end`. */
__attribute__((noinline, unused)) static void pattern_fill(uint8_t *first, uint8_t *end, uint64_t pattern)
{
    for (; first + 8 <= end; first += 8)
        store_64(first, pattern);
}

/* Not zero where one of them is not the pattern. */
__attribute__((noinline, unused)) static uint64_t pattern_difference(const uint8_t *first, const uint8_t *end,
                                                                     uint64_t pattern)
{
    uint64_t difference = 0;
    for (; first + 8 <= end; first += 8)
        difference |= load_64(first) ^ pattern;
    return difference;
}

/* Whether the processor has AVX2: vectors of 32 bytes. */
#if defined(__x86_64__)
static inline int has_avx2(void) { return __builtin_cpu_supports("avx2") != 0; }
#else
static inline int has_avx2(void) { return 0; }
#endif

/* Writes the cache lines of a range back to memory and drops them, so that the DRAM holds what was last written: the
 * answer from user space to the "uncached" mode that memfd_secret's first patches had. Nothing where the processor has no
 * such instruction for us (`lines_can_be_flushed`). */
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

static inline int lines_can_be_flushed(void) { return 1; }

__attribute__((target("clflushopt"), unused)) static void flush_lines_optimised(uint8_t *p, size_t size)
{
    for (uintptr_t line = (uintptr_t)p & ~(uintptr_t)(LINE_BYTES - 1); line < (uintptr_t)p + size; line += LINE_BYTES)
        _mm_clflushopt((void *)line);
}

__attribute__((unused)) static void flush_lines(uint8_t *p, size_t size)
{
    static int optimised = -1; /* a copy for each module, each asks once */
    unsigned a = 0, b = 0, c = 0, d = 0;
    int use = __atomic_load_n(&optimised, __ATOMIC_RELAXED);
    if (use < 0) {
        use = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_CLFLUSHOPT);
        __atomic_store_n(&optimised, use, __ATOMIC_RELAXED);
    }
    if (use) {
        flush_lines_optimised(p, size);
    } else {
        for (uintptr_t line = (uintptr_t)p & ~(uintptr_t)(LINE_BYTES - 1); line < (uintptr_t)p + size;
             line += LINE_BYTES)
            _mm_clflush((void *)line);
    }
    _mm_sfence();
}
#else
static inline int lines_can_be_flushed(void) { return 0; }
static inline void flush_lines(uint8_t *p, size_t size) { (void)p, (void)size; }
#endif

/* Whether two ranges are equal, in a time that depends on their size alone. */
static inline int bytes_equal_constant_time(const uint8_t *a, const uint8_t *b, size_t size)
{
    uint64_t difference = 0;
    size_t i = 0;
    for (; i + 8 <= size; i += 8)
        difference |= load_64(a + i) ^ load_64(b + i);
    for (; i < size; i++)
        difference |= (uint64_t)(a[i] ^ b[i]);
    __asm__ volatile("" : "+r"(difference)); /* no early way out may be derived from it */
    return difference == 0;
}

#endif
