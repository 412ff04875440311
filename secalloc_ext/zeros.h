/* Layer 0: zeroing slots, and finding out whether they are zero.
 *
 * `p` and `size` are multiples of 16, `size` is not 0. All are inline, as a call would cost as much as the work:
 *
 *     up to SHORT_BYTES     by 16 bytes, overlapping instead of in a loop
 *     above                 by 32 bytes, where the processor has AVX2
 *
 * The latter is assembler: the compiler keeps AVX2 in functions of its own, with calls. Vectors of 64 bytes were no faster.
 */
#ifndef SECALLOC_ZEROS_H
#define SECALLOC_ZEROS_H

#include "prim.h"

enum { SHORT_BYTES = 64, LONG_BYTES = 1040 /* above, memset(3) wins */ };
/* `inline_bytes` is one of them: the largest slot that needs no call. */

/* --- by 32 bytes: `size` is 80 or more ------------------------------------------------------------------------------ */

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they see no assembler */
static size_t inline_bytes = SHORT_BYTES; /* a copy for each module, constant after its start */
__attribute__((constructor, unused)) static void inline_bytes_ask(void)
{
    if (has_avx2())
        inline_bytes = LONG_BYTES;
}

/* Both: head and tail by 16 bytes, what is between them by aligned vectors, none of which crosses a cache line; the last
 * two may overlap those before. */
#define MIDDLE_FIRST(p) ((uintptr_t)((p) + 31) & ~(uintptr_t)31)
#define MIDDLE_LAST(p, size) (((uintptr_t)((p) + (size)) & ~(uintptr_t)31) - 64)

static inline void wipe_32(uint8_t *p, size_t size)
{
    uintptr_t at = MIDDLE_FIRST(p), last = MIDDLE_LAST(p, size);
    __asm__ volatile("vpxor %%xmm0, %%xmm0, %%xmm0\n\t"
                     "vmovdqa %%xmm0, (%[p])\n\t"
                     "vmovdqa %%xmm0, -16(%[p], %[size])\n"
                     "1:\tvmovdqa %%ymm0, (%[at])\n\t"
                     "vmovdqa %%ymm0, 32(%[at])\n\t"
                     "add $64, %[at]\n\t"
                     "cmp %[last], %[at]\n\t"
                     "jb 1b\n\t"
                     "vmovdqa %%ymm0, (%[last])\n\t"
                     "vmovdqa %%ymm0, 32(%[last])\n\t"
                     "vzeroupper"
                     : [at] "+r"(at)
                     : [p] "r"(p), [size] "r"(size), [last] "r"(last)
                     : "memory", "cc", "xmm0");
}

static inline int bytes_are_zero_32(const uint8_t *p, size_t size)
{
    uintptr_t at = MIDDLE_FIRST(p), last = MIDDLE_LAST(p, size);
    int are_zero;
    __asm__ volatile("vmovdqa (%[p]), %%xmm0\n\t"
                     "vpor -16(%[p], %[size]), %%xmm0, %%xmm0\n\t"
                     "vpor (%[last]), %%ymm0, %%ymm0\n\t"
                     "vmovdqa 32(%[last]), %%ymm1\n"
                     "1:\tvpor (%[at]), %%ymm0, %%ymm0\n\t"
                     "vpor 32(%[at]), %%ymm1, %%ymm1\n\t"
                     "add $64, %[at]\n\t"
                     "cmp %[last], %[at]\n\t"
                     "jb 1b\n\t"
                     "vpor %%ymm0, %%ymm1, %%ymm0\n\t"
                     "vptest %%ymm0, %%ymm0\n\t"
                     "vzeroupper" /* leaves the flags alone */
                     : "=@ccz"(are_zero), [at] "+r"(at)
                     : [p] "r"(p), [size] "r"(size), [last] "r"(last)
                     : "memory", "xmm0", "xmm1");
    return are_zero;
}
#else
enum { inline_bytes = SHORT_BYTES };
static inline void wipe_32(uint8_t *p, size_t size) { wipe(p, size); }
static inline int bytes_are_zero_32(const uint8_t *p, size_t size) { return p[0] == 0 && size == 0; }
#endif

/* --- by 16 bytes: `size` is SHORT_BYTES or less --------------------------------------------------------------------- */

static inline void wipe_short(uint8_t *p, size_t size)
{
    const vector_16 zero = {0, 0};
    uint8_t *last = p + size - 16;
    *(vector_16 *)p = zero;
    *(vector_16 *)last = zero;
    if (size > 32) {
        *(vector_16 *)(p + 16) = zero;
        *(vector_16 *)(last - 16) = zero;
    }
    __asm__ volatile("" : : "r"(p) : "memory");
}

static inline int bytes_are_zero_short(const uint8_t *p, size_t size)
{
    const uint8_t *last = p + size - 16;
    vector_16 any = *(const vector_16 *)p | *(const vector_16 *)last;
    if (size > 32)
        any |= *(const vector_16 *)(p + 16) | *(const vector_16 *)(last - 16);
    return (any[0] | any[1]) == 0;
}

/* --- of any size --------------------------------------------------------------------------------------------------- */

static inline int bytes_are_zero(const uint8_t *p, size_t size)
{
    vector_16 any = {0, 0};
    if (size <= SHORT_BYTES)
        return bytes_are_zero_short(p, size);
    if (inline_bytes > SHORT_BYTES)
        return bytes_are_zero_32(p, size);
    for (size_t i = 0; i < size; i += 16)
        any |= *(const vector_16 *)(p + i);
    return (any[0] | any[1]) == 0;
}

static inline void wipe_slot(uint8_t *p, size_t size)
{
    if (size <= SHORT_BYTES)
        wipe_short(p, size);
    else if (size <= inline_bytes)
        wipe_32(p, size);
    else
        wipe(p, size);
}

/* Whether a sample of a slot is zero: its head, its tail and as much anywhere, as `random` has it (0 to 65,535). `size` is
 * more than SAMPLE_ABOVE. */
enum { SAMPLE_ABOVE = LONG_BYTES, SAMPLE_BYTES = 128 };

static inline int bytes_are_zero_in_sample(const uint8_t *p, size_t size, unsigned random)
{
    const uint8_t *anywhere = p + (((size - SAMPLE_BYTES) * random >> 16) & ~(size_t)15);
    return bytes_are_zero(p, SAMPLE_BYTES) & bytes_are_zero(anywhere, SAMPLE_BYTES)
           & bytes_are_zero(p + size - SAMPLE_BYTES, SAMPLE_BYTES);
}

#endif
