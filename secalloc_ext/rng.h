/* Layer 0: a ChaCha8 stream of random bytes for placement: which slot, which gap. Not for keys: those come from
 * getrandom(2). D. J. Bernstein, "ChaCha, a variant of Salsa20" (2008): eight rounds, a 64-bit block counter, a zero nonce.
 *
 * Four blocks at a time, one in each lane of the vectors. They stay as they lie then: word 0 of all four, word 1, ...
 * Not thread-safe: each thread cache has its own.
 */
#ifndef SECALLOC_RNG_H
#define SECALLOC_RNG_H

#include <stdint.h>
#include <string.h>

enum { RNG_LANES = 4, RNG_WORDS = 16, RNG_BYTES = RNG_LANES * RNG_WORDS * 4 };

typedef uint32_t rng_lanes __attribute__((vector_size(16)));

struct rng {
    uint32_t key[8];
    uint64_t block;           /* counter of the next block */
    uint8_t bytes[RNG_BYTES]; /* used up in order, but for the first byte */
    uint8_t next;             /* index into bytes; 0: all are used */
};

#define RNG_ROTATE(x, by) ((x) << (by) | (x) >> (32 - (by)))
#define RNG_QUARTER(a, b, c, d)                                      \
    do {                                                             \
        x[a] += x[b], x[d] ^= x[a], x[d] = RNG_ROTATE(x[d], 16);     \
        x[c] += x[d], x[b] ^= x[c], x[b] = RNG_ROTATE(x[b], 12);     \
        x[a] += x[b], x[d] ^= x[a], x[d] = RNG_ROTATE(x[d], 8);      \
        x[c] += x[d], x[b] ^= x[c], x[b] = RNG_ROTATE(x[b], 7);      \
    } while (0)

__attribute__((unused, noinline)) static void rng_fill(struct rng *rng)
{
    static const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    rng_lanes start[RNG_WORDS], x[RNG_WORDS];
    for (int i = 0; i < 4; i++)
        start[i] = (rng_lanes){0} + constants[i];
    for (int i = 0; i < 8; i++)
        start[4 + i] = (rng_lanes){0} + rng->key[i];
    start[14] = start[15] = (rng_lanes){0};
    for (int lane = 0; lane < RNG_LANES; lane++, rng->block++) {
        start[12][lane] = (uint32_t)rng->block;
        start[13][lane] = (uint32_t)(rng->block >> 32);
    }
    memcpy(x, start, sizeof x);
    for (int i = 0; i < 4; i++) {
        RNG_QUARTER(0, 4, 8, 12);
        RNG_QUARTER(1, 5, 9, 13);
        RNG_QUARTER(2, 6, 10, 14);
        RNG_QUARTER(3, 7, 11, 15);
        RNG_QUARTER(0, 5, 10, 15);
        RNG_QUARTER(1, 6, 11, 12);
        RNG_QUARTER(2, 7, 8, 13);
        RNG_QUARTER(3, 4, 9, 14);
    }
    for (int i = 0; i < RNG_WORDS; i++)
        x[i] += start[i];
    memcpy(rng->bytes, x, sizeof x);
    rng->next = 1;
}

#endif
