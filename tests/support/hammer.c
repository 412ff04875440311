/* Threads that allocate, check, resize and free through the C API at full speed, with objects changing hands.
 *
 * Each thread swaps what it made for whatever stands in a random place of one exchange, and frees that: about every
 * object is freed by another thread than made it. An object is filled with its own size's byte, and must hold it to
 * its end; fresh memory must be zero. NULL for want of memory (EAGAIN, as at the memlock limit) breaks no contract.
 * A thread ends in the middle, with slots in its cache, and the next takes its place. One thread may fork all the
 * while: its children allocate, free and check, and find what they had from their parent as the fork policy says.
 *
 * -DFAULT_... makes one fault on purpose, for those who must find it: the sanitizers and the soak.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "filling.h"

enum { PLACES = 512, THREADS_MAX = 64, KEPT = 6, CHILD_ROUNDS = 300 };
enum { NOACCESS, READONLY, READWRITE };

struct functions {
    void *(*malloc)(size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    size_t (*usable_size)(void *);
    void *(*aligned_alloc)(size_t, size_t);
    void *(*guarded_alloc)(size_t); /* this and the next may be NULL: then nothing is guarded */
    int (*protect)(void *, int);
};

struct plan {
    int threads, lives; /* threads at a time, one life after the other */
    long rounds;        /* of a life, on average */
    int small;          /* whether to make small objects only, and resize none: locks are seldom taken then */
    int forks, copies;  /* children, one after the other; whether they have copies of what their parent has */
    uint64_t seed;
    long operations; /* answered: rounds and children, all threads */
};

struct work {
    const struct functions *secalloc;
    const struct plan *plan;
    void **places;  /* the exchange */
    void **guarded; /* that of guarded objects, whose protection may be any */
    unsigned char *shared;
    uint64_t random;
    long rounds, operations, broken;
};

static void commit_fault(struct work *work)
{
#if defined(FAULT_RACE)
    work->shared[0]++; /* all threads, without a lock */
#elif defined(FAULT_OVERFLOW)
    volatile size_t size = 16; /* which the compiler, and so UBSan, does not know */
    volatile char *p = malloc(size);
    p[size] = 1;
    free((void *)p);
#elif defined(FAULT_SHIFT)
    volatile int by = 40;
    work->random += (uint64_t)(1 << by);
#elif defined(FAULT_LEAK)
    void *volatile p = malloc(1234);
    p = NULL;
    (void)p;
#elif defined(FAULT_FORGET)
    work->secalloc->malloc(32);
#elif defined(FAULT_OPEN)
    work->broken += dup(STDERR_FILENO) < 0;
#endif
    (void)work;
}

/* Fills a new object of `size` bytes, NULL or aligned as said; answers it. */
static unsigned char *begin(struct work *work, unsigned char *p, size_t size, size_t alignment)
{
    if (p == NULL) {
        work->broken += errno != EAGAIN;
        return NULL;
    }
    work->broken += !holds(p, size, 0) || ((uintptr_t)p & (alignment - 1)) != 0;
    memset(p, byte_of(size), size);
    return p;
}

static void end(struct work *work, unsigned char *p)
{
    if (p != NULL) {
        size_t size = work->secalloc->usable_size(p);
        work->broken += !holds(p, size, byte_of(size));
        work->secalloc->free(p);
    }
}

static unsigned char *resized(struct work *work, unsigned char *p, size_t size)
{
    size_t grown = size + next(&work->random) % 500;
    unsigned char *moved = work->secalloc->realloc(p, grown);
    if (moved == NULL) {
        work->broken += errno != EAGAIN || !holds(p, size, byte_of(size));
        return p;
    }
    work->broken += !holds(moved, size, byte_of(size)) || !holds(moved + size, grown - size, 0);
    memset(moved, byte_of(grown), grown);
    return moved;
}

/* Guarded objects are freed in any state, and checked in most. */
static void round_guarded(struct work *work)
{
    const struct functions *secalloc = work->secalloc;
    size_t size = next(&work->random) % 10000;
    unsigned char *p = begin(work, secalloc->guarded_alloc(size), size, 1);
    if (p == NULL)
        return;
    work->broken += secalloc->protect(p, (int)(next(&work->random) % 3)) != 0;
    p = __atomic_exchange_n(&work->guarded[next(&work->random) % PLACES], p, __ATOMIC_ACQ_REL);
    if (p != NULL && next(&work->random) % 4 == 0) {
        secalloc->free(p);
    } else if (p != NULL) {
        work->broken += secalloc->protect(p, READWRITE) != 0;
        end(work, p);
    }
}

static void round_once(struct work *work)
{
    const struct functions *secalloc = work->secalloc;
    size_t size = next(&work->random) % 300;
    size_t alignment = 16;
    unsigned char *p;
    switch (work->plan->small ? 63 : next(&work->random) % 64) {
    case 0:
        size = next(&work->random) % 30000;
        p = secalloc->malloc(size);
        break;
    case 1:
        size = next(&work->random) % 8 ? size : next(&work->random) % 500000;
        p = secalloc->malloc(size);
        break;
    case 2:
    case 3:
        alignment = (size_t)16 << next(&work->random) % 10;
        p = secalloc->aligned_alloc(alignment, size);
        break;
    case 4:
        if (secalloc->guarded_alloc != NULL) {
            round_guarded(work);
            return;
        }
        /* fall through */
    default:
        p = secalloc->malloc(size);
    }
    p = begin(work, p, size, alignment);
    if (p == NULL)
        return;
    if (!work->plan->small && next(&work->random) % 8 == 0)
        p = resized(work, p, size);
    end(work, __atomic_exchange_n(&work->places[next(&work->random) % PLACES], p, __ATOMIC_ACQ_REL));
}

static void *live(void *argument)
{
    struct work *work = argument;
    commit_fault(work);
    for (long i = 0; i < work->rounds; i++)
        round_once(work);
    work->operations += work->rounds;
    return NULL;
}

/* One thread after the other. */
static void *lives(void *argument)
{
    struct work *work = argument;
    for (int life = 0; life < work->plan->lives; life++) {
        pthread_t id;
        work->rounds = 1 + (long)(next(&work->random) % (uint64_t)(2 * work->plan->rounds));
        if (pthread_create(&id, NULL, live, work) != 0)
            abort();
        pthread_join(id, NULL);
    }
    return NULL;
}

static void drain(struct work *work)
{
    for (int i = 0; i < PLACES; i++) {
        end(work, work->places[i]);
        work->places[i] = NULL;
        if (work->guarded[i] != NULL)
            work->secalloc->free(work->guarded[i]);
        work->guarded[i] = NULL;
    }
}

static size_t kept_size(int i) { return (size_t)1 << 3 * i; } /* up to 32 KiB */

/* In a child, with an exchange of its own: what the other threads were about in their parent's is not known. */
static int child(struct work *work, void *const *kept)
{
    void *places[PLACES] = {NULL}, *guarded[PLACES] = {NULL};
    work->places = places;
    work->guarded = guarded;
    work->broken = 0;
    for (int i = 0; i < CHILD_ROUNDS; i++) {
        if (i < KEPT && kept[i] != NULL) {
            size_t size = work->secalloc->usable_size(kept[i]);
            work->broken += size != (work->plan->copies ? kept_size(i) : 0) || !holds(kept[i], size, byte_of(size));
            work->secalloc->free(kept[i]);
        }
        round_once(work);
    }
    drain(work);
    return work->broken != 0;
}

static void *fork_often(void *argument)
{
    struct work *work = argument;
    for (int i = 0; i < work->plan->forks; i++) {
        unsigned char *kept[KEPT];
        for (int k = 0; k < KEPT; k++)
            kept[k] = begin(work, work->secalloc->malloc(kept_size(k)), kept_size(k), 16);
        int status = 0;
        pid_t pid = fork();
        if (pid == 0)
            _exit(child(work, (void **)kept));
        work->broken += pid < 0 || waitpid(pid, &status, 0) != pid || status != 0;
        for (int k = 0; k < KEPT; k++)
            end(work, kept[k]);
        work->operations++;
    }
    return NULL;
}

/* Carries out the plan; answers how many contracts were broken. */
long hammer(const struct functions *secalloc, struct plan *plan)
{
    static void *places[PLACES], *guarded[PLACES];
    static unsigned char unused;
    pthread_t ids[THREADS_MAX + 1];
    struct work works[THREADS_MAX + 1];
    unsigned char *shared = secalloc->malloc(1);
    long broken = 0;
    for (int i = 0; i <= plan->threads; i++) {
        works[i] = (struct work){secalloc, plan, places, guarded, shared ? shared : &unused,
                                 plan->seed + (uint64_t)i * 2654435761u + 1, 0, 0, 0};
        if (pthread_create(&ids[i], NULL, i < plan->threads ? lives : fork_often, &works[i]) != 0)
            abort();
    }
    for (int i = 0; i <= plan->threads; i++)
        pthread_join(ids[i], NULL);
    drain(&works[0]);
    secalloc->free(shared);
    plan->operations = 0;
    for (int i = 0; i <= plan->threads; i++) {
        broken += works[i].broken;
        plan->operations += works[i].operations;
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
