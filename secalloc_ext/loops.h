/* Layer 4: the timed loops of loops.pyx, over the functions of any allocator.
 *
 * A peer is called in one of a few ways. Each loop is compiled once for each way, so that no adaptor stands between the
 * loop and the peer: `way` is a constant in every inlined copy. Every object is filled before it is freed. A loop answers
 * nanoseconds by CLOCK_MONOTONIC, or FAILED when the peer gave no memory.
 */
#ifndef SECALLOC_LOOPS_H
#define SECALLOC_LOOPS_H

#include <Python.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "prim.h"

#define inlined static inline __attribute__((always_inline, unused))
#define counted __attribute__((noinline)) /* by this name benchmarks/instructions.py counts */

enum { FAILED = -1 };

#ifdef __clang__
static const char *const compiler = __VERSION__;
#else
static const char *const compiler = "GCC " __VERSION__;
#endif

enum way {
    WAY_PLAIN = 0, /* alloc(size), release(p): the release wipes, or the peer does not claim to */
    WAY_WIPING,    /* the same, and the loop wipes before the release, as a careful caller does */
    WAY_AT,        /* OpenSSL's: with a source line, and the size at release */
    WAY_HEAP,      /* secalloc's, in a heap of its own */
};

struct peer {
    enum way way;
    void *alloc, *release; /* the functions */
    void *heap;            /* of WAY_HEAP */
};

inlined void *peer_alloc(const struct peer *peer, enum way way, size_t size)
{
    if (way == WAY_AT)
        return ((void *(*)(size_t, const char *, int))peer->alloc)(size, "", 0);
    if (way == WAY_HEAP)
        return ((void *(*)(void *, size_t, int))peer->alloc)(peer->heap, size, 0);
    return ((void *(*)(size_t))peer->alloc)(size);
}

inlined void peer_release(const struct peer *peer, enum way way, void *p, size_t size)
{
    if (way == WAY_AT) {
        ((void (*)(void *, size_t, const char *, int))peer->release)(p, size, "", 0);
        return;
    }
    if (way == WAY_WIPING)
        explicit_bzero(p, size);
    ((void (*)(void *))peer->release)(p);
}

/* A new object, with a secret copied into it. Not by memset(3): glibc's masked AVX-512 stores stall whoever next reads
 * the bytes behind, which would be our check of the canary and nobody else's. Each from another place within a page: a
 * load that is as far into its page as a store before it waits for it, and malloc's hot piece, always the same, would
 * meet that each time or never, by chance of the addresses. */
inlined void *peer_make(const struct peer *peer, enum way way, size_t size)
{
    static const char secret[(1 << 20) + PAGE_BYTES];
    static _Thread_local __attribute__((tls_model("initial-exec"))) unsigned from;
    void *p = peer_alloc(peer, way, size);
    from = (from + LINE_BYTES) % PAGE_BYTES;
    if (p != NULL)
        memcpy(p, secret + from, size < 1 << 20 ? size : 1 << 20);
    __asm__ volatile("" : : "r"(p) : "memory");
    return p;
}

/* The peer that has no allocator: one memfd_secret for each object. WAY_AT, as its release needs the size. */
static void *bare_alloc(size_t size, const char *file, int line)
{
    int descriptor = (int)syscall(447 /* memfd_secret */, O_CLOEXEC);
    void *p = MAP_FAILED;
    (void)file, (void)line;
    if (descriptor < 0)
        return NULL;
    if (ftruncate(descriptor, (off_t)size) == 0)
        p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    return p == MAP_FAILED ? NULL : p;
}

static void bare_release(void *p, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    munmap(p, size); /* the kernel zeroes the page */
}

static inline double loop_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* --- one object at a time ---------------------------------------------------------------------------------------- */

inlined double pair(const struct peer *peer, enum way way, size_t size, long rounds)
{
    double since = loop_now();
    for (long i = 0; i < rounds; i++) {
        void *p = peer_make(peer, way, size);
        if (p == NULL)
            return FAILED;
        peer_release(peer, way, p, size);
    }
    return loop_now() - since;
}

/* --- many objects: places[i] holds one or NULL; `order` is a permutation of their indices -------------------------- */

struct stand {
    void **places;
    const uint32_t *order;
    uint32_t live;
};

inlined void clear(const struct peer *peer, enum way way, size_t size, const struct stand *stand)
{
    for (uint32_t i = 0; i < stand->live; i++) {
        void **place = &stand->places[stand->order[i]];
        if (*place != NULL)
            peer_release(peer, way, *place, size);
        *place = NULL;
    }
}

/* All made in sequence, then all freed in scattered order. */
inlined double batch(const struct peer *peer, enum way way, size_t size, long rounds, const struct stand *stand)
{
    double since = loop_now();
    for (long r = 0; r < rounds; r++) {
        for (uint32_t i = 0; i < stand->live; i++) {
            stand->places[i] = peer_make(peer, way, size);
            if (stand->places[i] == NULL) {
                clear(peer, way, size, stand);
                return FAILED;
            }
        }
        clear(peer, way, size, stand);
    }
    return loop_now() - since;
}

/* All stand, and one after the other, in scattered order, is replaced. The first call puts them there. */
inlined double churn(const struct peer *peer, enum way way, size_t size, long rounds, const struct stand *stand)
{
    double since = loop_now();
    for (long r = 0; r < rounds; r++)
        for (uint32_t i = 0; i < stand->live; i++) {
            void **place = &stand->places[stand->order[i]];
            if (*place != NULL)
                peer_release(peer, way, *place, size);
            *place = peer_make(peer, way, size);
            if (*place == NULL) {
                clear(peer, way, size, stand);
                return FAILED;
            }
        }
    return loop_now() - since;
}

/* A trace of mixed sizes: each step picks a place at random, frees what is there, and in `share` of 2^32 steps makes an
 * object there, of a size that is picked at random. So `share` is the part of the places that is live in the long run. */
struct trace {
    void **places;
    uint32_t *bytes; /* of the object at each place */
    const uint32_t *sizes;
    uint32_t count, sizes_count;
    uint64_t random, live, live_bytes;
};

inlined uint32_t trace_random(struct trace *trace, uint32_t below)
{
    /* Knuth's MMIX constants; the high half is the random one. */
    trace->random = trace->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((trace->random >> 32) * below >> 32);
}

inlined void trace_drop(const struct peer *peer, enum way way, struct trace *trace, uint32_t place)
{
    if (trace->places[place] == NULL)
        return;
    peer_release(peer, way, trace->places[place], trace->bytes[place]);
    trace->places[place] = NULL;
    trace->live--;
    trace->live_bytes -= trace->bytes[place];
}

inlined double trace_steps(const struct peer *peer, enum way way, long steps, uint32_t share, struct trace *trace)
{
    double since = loop_now();
    for (long i = 0; i < steps; i++) {
        uint32_t place = trace_random(trace, trace->count);
        trace_drop(peer, way, trace, place);
        if (trace_random(trace, UINT32_MAX) >= share)
            continue;
        trace->bytes[place] = trace->sizes[trace_random(trace, trace->sizes_count)];
        trace->places[place] = peer_make(peer, way, trace->bytes[place]);
        if (trace->places[place] == NULL)
            return FAILED;
        trace->live++;
        trace->live_bytes += trace->bytes[place];
    }
    return loop_now() - since;
}

inlined double trace_clear(const struct peer *peer, enum way way, struct trace *trace)
{
    for (uint32_t place = 0; place < trace->count; place++)
        trace_drop(peer, way, trace, place);
    return 0;
}

/* --- bytes set to zero: by the core, and by libc ------------------------------------------------------------------- */

static double loop_wipe(void *p, size_t size, long rounds)
{
    double since = loop_now();
    for (long i = 0; i < rounds; i++)
        wipe(p, size);
    return loop_now() - since;
}

static double loop_memset(void *p, size_t size, long rounds)
{
    double since = loop_now();
    for (long i = 0; i < rounds; i++) {
        memset(p, 0, size);
        __asm__ volatile("" : : "r"(p) : "memory");
    }
    return loop_now() - since;
}

/* --- Python objects: `make(argument)`, dropped at once. -1 with an exception set ------------------------------------ */

counted static int call_loop(PyObject *make, PyObject *argument, long rounds)
{
    for (long i = 0; i < rounds; i++) {
        PyObject *made = PyObject_CallOneArg(make, argument);
        if (made == NULL)
            return -1;
        Py_DECREF(made);
    }
    return 0;
}

/* --- one thread makes, another frees ------------------------------------------------------------------------------- */

enum { RING = 4096 };

struct handoff {
    const struct peer *peer;
    size_t size;
    long rounds;
    void *ring[RING];
    uint64_t made __attribute__((aligned(128)));
    uint64_t taken __attribute__((aligned(128)));
};

inlined void consume(struct handoff *handoff, enum way way)
{
    uint64_t taken = 0;
    while (taken < (uint64_t)handoff->rounds) {
        uint64_t made = __atomic_load_n(&handoff->made, __ATOMIC_ACQUIRE);
        for (; taken < made; taken++)
            if (handoff->ring[taken % RING] != NULL)
                peer_release(handoff->peer, way, handoff->ring[taken % RING], handoff->size);
        __atomic_store_n(&handoff->taken, taken, __ATOMIC_RELEASE);
    }
}

static void *consumer(void *argument)
{
    struct handoff *handoff = argument;
    switch (handoff->peer->way) {
    case WAY_PLAIN: consume(handoff, WAY_PLAIN); break;
    case WAY_WIPING: consume(handoff, WAY_WIPING); break;
    case WAY_AT: consume(handoff, WAY_AT); break;
    case WAY_HEAP: consume(handoff, WAY_HEAP); break;
    }
    return NULL;
}

inlined double hand_over(const struct peer *peer, enum way way, size_t size, long rounds)
{
    static struct handoff handoff; /* one at a time: the callers hold the GIL's place by turns */
    pthread_t thread;
    int failed = 0;
    double since;
    handoff = (struct handoff){.peer = peer, .size = size, .rounds = rounds};
    if (pthread_create(&thread, NULL, consumer, &handoff) != 0)
        return FAILED;
    since = loop_now();
    for (long made = 0; made < rounds; made++) {
        while ((uint64_t)made - __atomic_load_n(&handoff.taken, __ATOMIC_ACQUIRE) >= RING)
            ;
        handoff.ring[made % RING] = peer_make(peer, way, size);
        failed |= handoff.ring[made % RING] == NULL;
        __atomic_store_n(&handoff.made, (uint64_t)made + 1, __ATOMIC_RELEASE);
    }
    pthread_join(thread, NULL);
    return failed ? FAILED : loop_now() - since;
}

/* --- by way -------------------------------------------------------------------------------------------------------- */

#define BY_WAY(peer, CALL)                   \
    switch ((peer)->way) {                   \
    case WAY_PLAIN: return CALL(WAY_PLAIN);  \
    case WAY_WIPING: return CALL(WAY_WIPING); \
    case WAY_AT: return CALL(WAY_AT);        \
    case WAY_HEAP: return CALL(WAY_HEAP);    \
    }                                        \
    return FAILED

counted static double loop_pair(const struct peer *peer, size_t size, long rounds)
{
#define CALL(way) pair(peer, way, size, rounds)
    BY_WAY(peer, CALL);
#undef CALL
}

static double loop_batch(const struct peer *peer, size_t size, long rounds, const struct stand *stand)
{
#define CALL(way) batch(peer, way, size, rounds, stand)
    BY_WAY(peer, CALL);
#undef CALL
}

static double loop_churn(const struct peer *peer, size_t size, long rounds, const struct stand *stand)
{
#define CALL(way) churn(peer, way, size, rounds, stand)
    BY_WAY(peer, CALL);
#undef CALL
}

static double loop_clear(const struct peer *peer, size_t size, const struct stand *stand)
{
#define CALL(way) (clear(peer, way, size, stand), 0)
    BY_WAY(peer, CALL);
#undef CALL
}

static double loop_trace(const struct peer *peer, long steps, uint32_t share, struct trace *trace)
{
#define CALL(way) trace_steps(peer, way, steps, share, trace)
    BY_WAY(peer, CALL);
#undef CALL
}

static double loop_trace_clear(const struct peer *peer, struct trace *trace)
{
#define CALL(way) trace_clear(peer, way, trace)
    BY_WAY(peer, CALL);
#undef CALL
}

static double loop_hand_over(const struct peer *peer, size_t size, long rounds)
{
#define CALL(way) hand_over(peer, way, size, rounds)
    BY_WAY(peer, CALL);
#undef CALL
}

#endif
