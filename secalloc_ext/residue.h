/* Layer 4: wiping what calls have left on the stack and in the vector registers, from where the next function that saves
 * them, as the dynamic linker does, would put it on the stack again.
 */
#ifndef SECALLOC_RESIDUE_H
#define SECALLOC_RESIDUE_H

#include "prim.h"

enum { RESIDUE_BYTES_MAX = 256 * 1024, RESIDUE_BYTES_KEPT = 16 * 1024 /* of a small stack: for what runs here */ };

/* The lowest address of this thread's stack, without its guard page; `p`, an address in it, where that is not known. In the
 * main thread libc reads /proc/self/maps for it, so it is asked once. Its own frame is wiped with the rest. */
__attribute__((noinline, unused)) static const char *residue_stack_lowest(const char *p)
{
    pthread_attr_t attributes;
    void *lowest = NULL;
    size_t size = 0, guard = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return p;
    pthread_attr_getstack(&attributes, &lowest, &size);
    pthread_attr_getguardsize(&attributes, &guard);
    pthread_attr_destroy(&attributes);
    return (const char *)lowest + guard;
}

/* A frame without variables: what lies between them would stay as it was. */
__attribute__((noinline, unused)) static void residue_wipe_below(size_t size) { wipe(__builtin_alloca(size), size); }

/* All of them are free to be used at a call. */
static inline void residue_clear_vectors(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        __asm__ volatile("vpxord %zmm16, %zmm16, %zmm16\n\tvpxord %zmm17, %zmm17, %zmm17\n\t"
                         "vpxord %zmm18, %zmm18, %zmm18\n\tvpxord %zmm19, %zmm19, %zmm19\n\t"
                         "vpxord %zmm20, %zmm20, %zmm20\n\tvpxord %zmm21, %zmm21, %zmm21\n\t"
                         "vpxord %zmm22, %zmm22, %zmm22\n\tvpxord %zmm23, %zmm23, %zmm23\n\t"
                         "vpxord %zmm24, %zmm24, %zmm24\n\tvpxord %zmm25, %zmm25, %zmm25\n\t"
                         "vpxord %zmm26, %zmm26, %zmm26\n\tvpxord %zmm27, %zmm27, %zmm27\n\t"
                         "vpxord %zmm28, %zmm28, %zmm28\n\tvpxord %zmm29, %zmm29, %zmm29\n\t"
                         "vpxord %zmm30, %zmm30, %zmm30\n\tvpxord %zmm31, %zmm31, %zmm31");
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vzeroall" : : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                         "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
#endif
}

/* `lowest`: the thread's own, NULL at first. */
__attribute__((noinline, unused)) static size_t residue_wipe(const char **lowest)
{
    const char *here = (const char *)__builtin_frame_address(0);
    if (*lowest == NULL)
        *lowest = residue_stack_lowest(here);
    size_t size = here - *lowest > RESIDUE_BYTES_KEPT ? (size_t)(here - *lowest) - RESIDUE_BYTES_KEPT : 0;
    if (size > RESIDUE_BYTES_MAX)
        size = RESIDUE_BYTES_MAX;
    residue_clear_vectors(); /* before, as the next call may save them */
    residue_wipe_below(size + 1);
    return size;
}

#endif
