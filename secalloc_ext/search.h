/* Layer 0: the first of some places in bytes, 16 at once where the processor compares so many.
 *
 * Where there is none, the answer is `size`. As prim.h's functions: no locks, no system call, any thread.
 */
#ifndef SECALLOC_SEARCH_H
#define SECALLOC_SEARCH_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <emmintrin.h>

typedef __m128i bytes_16;

static inline bytes_16 bytes_load(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)p); }
static inline bytes_16 bytes_equal(bytes_16 a, uint8_t b) { return _mm_cmpeq_epi8(a, _mm_set1_epi8((char)b)); }
static inline bytes_16 bytes_or(bytes_16 a, bytes_16 b) { return _mm_or_si128(a, b); }
static inline bytes_16 bytes_and(bytes_16 a, bytes_16 b) { return _mm_and_si128(a, b); }
static inline unsigned bytes_mask(bytes_16 a) { return (unsigned)_mm_movemask_epi8(a); }

/* From `low` to `low + count`, inclusive. */
static inline bytes_16 bytes_between(bytes_16 a, uint8_t low, uint8_t count)
{
    const bytes_16 over = _mm_sub_epi8(a, _mm_set1_epi8((char)low));
    return _mm_cmpeq_epi8(_mm_min_epu8(over, _mm_set1_epi8((char)count)), over);
}

/* Goes on with `i` while no 16 bytes from there have a place where `mask` is set. `i` and `size` are size_t, lvalues. */
#define SKIP_16(i, size, mask)                                                                                         \
    for (; (i) + 16 <= (size); (i) += 16) {                                                                            \
        const unsigned found = bytes_mask(mask);                                                                       \
        if (found != 0)                                                                                                \
            return (i) + (size_t)__builtin_ctz(found);                                                                 \
    }
#else
#define SKIP_16(i, size, mask)
#endif

static inline int is_space(uint8_t byte) { return byte == ' ' || (uint8_t)(byte - 9) < 5; }

static inline size_t find_space(const uint8_t *p, size_t i, size_t size)
{
    SKIP_16(i, size, bytes_or(bytes_equal(bytes_load(p + i), ' '), bytes_between(bytes_load(p + i), 9, 4)))
    while (i < size && !is_space(p[i]))
        i++;
    return i;
}

static inline size_t find_line_end(const uint8_t *p, size_t i, size_t size)
{
    SKIP_16(i, size, bytes_or(bytes_equal(bytes_load(p + i), '\n'), bytes_equal(bytes_load(p + i), '\r')))
    while (i < size && p[i] != '\n' && p[i] != '\r')
        i++;
    return i;
}

/* Two bytes. glibc's memmem goes byte by byte there. */
static inline size_t find_pair(const uint8_t *p, size_t size, const uint8_t *pair)
{
    const uint8_t a = pair[0], b = pair[1];
    const size_t starts = size > 0 ? size - 1 : 0;
    size_t i = 0;
    SKIP_16(i, starts, bytes_and(bytes_equal(bytes_load(p + i), a), bytes_equal(bytes_load(p + i + 1), b)))
    while (i < starts && (p[i] != a || p[i + 1] != b))
        i++;
    return i < starts ? i : size;
}

#endif
