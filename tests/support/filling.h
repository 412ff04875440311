/* What the C threads of the tests fill objects with, and find there again; and their dice. */
#include <stddef.h>
#include <stdint.h>

static inline uint64_t next(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

static inline int holds(const unsigned char *p, size_t size, int byte)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != byte)
            return 0;
    return 1;
}

/* An object's filling tells its size, and is not zero. */
static inline unsigned char byte_of(size_t size) { return (unsigned char)(size % 255 + 1); }
