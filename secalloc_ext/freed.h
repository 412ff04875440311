/* Layer 5: what glibc's allocator has freed and not overwritten: the small blocks that a thread keeps for itself (tcache), and
 * the last word of a block where it was joined with the free memory behind it. All of it is had from the allocator, wiped and
 * given back.
 */
#ifndef SECALLOC_FREED_H
#define SECALLOC_FREED_H

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "prim.h"

enum {
    KEPT_FIRST = 24,   /* usable bytes of the smallest block that a thread keeps, of the biggest, and from one to the next */
    KEPT_LAST = 1032,
    KEPT_STEP = 16,
    KEPT_EACH = 16,    /* of a size: 7 up to glibc 2.41, 16 from 2.42 on */
    FREED_LARGEST = 1 << 16, /* below what malloc maps by itself, and by which it learns what to map */
    FREED_BYTES_MAX = 1 << 26, /* wiped at once; what is free beyond that stays as it is */
};

typedef struct { void *held; size_t bytes; } freed_t;

/* Blocks of a size until one comes from behind the heap's end: the main arena has no more. `least`: so many in any case. */
static inline void freed_take(freed_t *freed, size_t size, int least, uintptr_t end)
{
    while (freed->bytes < FREED_BYTES_MAX) {
        void **p = (void **)malloc(size);
        __asm__ volatile("" : "+r"(p)); /* not calloc, which GCC makes of malloc and zeros, and which passes the thread's by */
        if (p == NULL)
            return;
        int is_new = (uintptr_t)p >= end && least-- <= 0;
        if (!is_new) {
            wipe(p, size);
            freed->bytes += size;
        }
        *p = freed->held;
        freed->held = p;
        if (is_new)
            return;
    }
}

__attribute__((noinline, unused)) static void freed_wipe(void)
{
    freed_t freed = {NULL, 0};
    uintptr_t end = (uintptr_t)sbrk(0);
    for (size_t size = KEPT_FIRST; size <= KEPT_LAST; size += KEPT_STEP)
        freed_take(&freed, size, KEPT_EACH, 0);
    for (size_t size = FREED_LARGEST; size > KEPT_LAST; size /= 2)
        freed_take(&freed, size, 0, end);
    for (size_t size = KEPT_LAST; size >= KEPT_FIRST; size -= KEPT_STEP)
        freed_take(&freed, size, 0, end);
    while (freed.held != NULL) {
        void **p = (void **)freed.held;
        freed.held = *p;
        *p = NULL;
        free(p);
    }
}

#endif
