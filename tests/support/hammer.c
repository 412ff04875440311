/* Threads that allocate, check, resize and free through the C API at full speed, with objects changing hands.
 *
 * Each thread swaps what it made for whatever stands in a random place of one exchange, and frees that: about every
 * object is freed by another thread than made it. An object is filled with its own size's byte, and must hold it to
 * its end; fresh memory must be zero. NULL for want of memory (EAGAIN, as at the memlock limit) breaks no contract.
 * Answers how many were broken.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 512 };

struct functions {
    void *(*malloc)(size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    size_t (*usable_size)(void *);
};

struct work {
    const struct functions *secalloc;
    void **places;
    uint64_t random;
    long rounds;
    long broken;
};

static uint64_t next(struct work *work)
{
    work->random ^= work->random << 13;
    work->random ^= work->random >> 7;
    work->random ^= work->random << 17;
    return work->random;
}

static int holds(const unsigned char *p, size_t size, int byte)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != byte)
            return 0;
    return 1;
}

static unsigned char byte_of(size_t size) { return (unsigned char)(size % 255 + 1); }

static void *run(void *argument)
{
    struct work *work = argument;
    const struct functions *secalloc = work->secalloc;
    for (long i = 0; i < work->rounds; i++) {
        size_t size = next(work) % (next(work) % 64 ? 300 : 30000);
        unsigned char *p = secalloc->malloc(size);
        if (p == NULL) {
            work->broken += errno != EAGAIN;
            continue;
        }
        work->broken += !holds(p, size, 0) || ((uintptr_t)p & 15) != 0;
        memset(p, byte_of(size), size);
        if (next(work) % 8 == 0) {
            size_t grown = size + next(work) % 500;
            unsigned char *moved = secalloc->realloc(p, grown);
            if (moved == NULL) {
                work->broken += errno != EAGAIN || !holds(p, size, byte_of(size));
            } else {
                p = moved;
                work->broken += !holds(p, size, byte_of(size)) || !holds(p + size, grown - size, 0);
                memset(p, byte_of(grown), grown);
            }
        }
        p = __atomic_exchange_n(&work->places[next(work) % PLACES], p, __ATOMIC_ACQ_REL);
        if (p != NULL) {
            size = secalloc->usable_size(p);
            work->broken += !holds(p, size, byte_of(size));
            secalloc->free(p);
        }
    }
    return NULL;
}

/* `generations` times `threads` threads, one generation after the other, so that caches are left and adopted. */
long hammer(const struct functions *secalloc, int threads, int generations, long rounds, uint64_t seed)
{
    static void *places[PLACES];
    pthread_t ids[64];
    struct work works[64];
    long broken = 0;
    for (int generation = 0; generation < generations; generation++) {
        for (int i = 0; i < threads; i++) {
            works[i] = (struct work){secalloc, places, seed + (uint64_t)(generation * threads + i) * 2654435761u + 1,
                                     rounds, 0};
            if (pthread_create(&ids[i], NULL, run, &works[i]) != 0)
                abort();
        }
        for (int i = 0; i < threads; i++) {
            pthread_join(ids[i], NULL);
            broken += works[i].broken;
        }
    }
    for (int i = 0; i < PLACES; i++) {
        secalloc->free(places[i]);
        places[i] = NULL;
    }
    return broken;
}

/* Gives back and takes anew `count` objects of `size` bytes, one after the other, `rounds` times: with hardly a lock. */
void churn(const struct functions *secalloc, void **objects, long count, size_t size, long rounds)
{
    for (long i = 0; i < count * rounds; i++) {
        secalloc->free(objects[i % count]);
        objects[i % count] = secalloc->malloc(size);
    }
}
