/* Preloaded into a process, this makes the n-th of secalloc's own calls of a libc function fail.
 *
 * Only calls that return into a watched range of code are counted, so that Python's, libc's and the loader's never fail.
 * The counters lie in shared memory: a child goes on counting where its parent forked. A call that fails is not made,
 * but for close(2), which closes the descriptor whatever it answers. Where the code is 0, getrandom and read are not
 * failed but cut short, to one byte.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

enum { RANGES_MAX = 64, CALLS_MAX = 32, SHORT_BYTES = 1 };

/* mmap(2) has three uses: to reserve address space, to map a piece into it, and to take a piece away. mprotect(2) has
 * two: only what makes pages writable can meet a limit. */
enum call {
    RESERVE, PIECE, RELEASE, MUNMAP, MREMAP, OPEN, SHUT, PKEY_ALLOC, PKEY_OPEN, PKEY_SHUT, PKEY_SET, MADVISE, MLOCK,
    MEMFD_SECRET, FTRUNCATE, CLOSE, GETRANDOM, GETRLIMIT, SYSCONF, CALLOC, KEY_CREATE, SETSPECIFIC, SIGACTION, ATEXIT, READ,
    CALLS,
};
static const char *const NAMES[CALLS] = {
    "mmap reserve", "mmap piece", "mmap release", "munmap", "mremap", "mprotect open", "mprotect shut",
    "pkey_alloc", "pkey_mprotect open", "pkey_mprotect shut", "pkey_set", "madvise", "mlock", "memfd_secret", "ftruncate", "close", "getrandom", "getrlimit", "sysconf", "calloc",
    "pthread_key_create", "pthread_setspecific", "sigaction", "atexit", "read",
};

struct plan {
    long made;        /* calls since faults_disarm */
    long first, last; /* those of them that fail */
    int code;
};

static struct { uintptr_t start, end; } ranges[RANGES_MAX];
static int ranges_used;
static struct { struct plan plans[CALLS]; long injected; int keys; } *shared; /* NULL until the first range is watched */

#define CALLER ((uintptr_t)__builtin_return_address(0))
#define NEXT(name) ({ static __typeof__(&name) next; if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name); next; })

/* The code that this call shall fail with; -1 if it shall not. */
static int fault(enum call call, uintptr_t caller)
{
    struct plan *plan;
    long number;
    int i = 0;
    while (i < ranges_used && (caller < ranges[i].start || caller >= ranges[i].end))
        i++;
    if (i == ranges_used)
        return -1;
    plan = &shared->plans[call];
    number = __atomic_add_fetch(&plan->made, 1, __ATOMIC_RELAXED);
    if (number < plan->first || number > plan->last)
        return -1;
    __atomic_add_fetch(&shared->injected, 1, __ATOMIC_RELAXED);
    return plan->code;
}

/* The same for a call that tells by errno. */
static int fails(enum call call, uintptr_t caller)
{
    int code = fault(call, caller);
    if (code > 0)
        errno = code;
    return code > 0;
}

/* --- what the test calls ---------------------------------------------------------------------------------------- */

void faults_watch(uintptr_t start, uintptr_t end)
{
    if (shared == NULL)
        shared = NEXT(mmap)(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || ranges_used == RANGES_MAX)
        abort();
    ranges[ranges_used].start = start;
    ranges[ranges_used++].end = end;
}

static enum call call_of(const char *name)
{
    for (int i = 0; i < CALLS; i++)
        if (strcmp(NAMES[i], name) == 0)
            return (enum call)i;
    abort();
}

void faults_arm(const char *name, long first, long last, int code)
{
    struct plan *plan = &shared->plans[call_of(name)];
    plan->first = first;
    plan->last = last;
    plan->code = code;
}

void faults_disarm(void) { memset(shared->plans, 0, sizeof shared->plans); }
long faults_count(const char *name) { return shared->plans[call_of(name)].made; }
long faults_injected(void) { return shared->injected; }
const char *faults_name(int i) { return i < CALLS ? NAMES[i] : NULL; }
void faults_pretend_keys(void) { shared->keys = 1; }

/* --- the functions that can fail -------------------------------------------------------------------------------- */

static enum call use_of_mmap(int protection, int flags)
{
    return protection != PROT_NONE ? PIECE : flags & MAP_FIXED ? RELEASE : RESERVE;
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    if (fails(use_of_mmap(protection, flags), CALLER))
        return MAP_FAILED;
    return NEXT(mmap)(address, length, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
    if (fails(use_of_mmap(protection, flags), CALLER))
        return MAP_FAILED;
    return NEXT(mmap64)(address, length, protection, flags, fd, offset);
}

int munmap(void *address, size_t length)
{
    return fails(MUNMAP, CALLER) ? -1 : NEXT(munmap)(address, length);
}

void *mremap(void *address, size_t old, size_t new, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    void *target = flags & MREMAP_FIXED ? va_arg(more, void *) : NULL;
    va_end(more);
    return fails(MREMAP, CALLER) ? MAP_FAILED : NEXT(mremap)(address, old, new, flags, target);
}

int mprotect(void *address, size_t length, int protection)
{
    return fails(protection & PROT_WRITE ? OPEN : SHUT, CALLER) ? -1 : NEXT(mprotect)(address, length, protection);
}

int madvise(void *address, size_t length, int advice)
{
    return fails(MADVISE, CALLER) ? -1 : NEXT(madvise)(address, length, advice);
}

int mlock(const void *address, size_t length)
{
    return fails(MLOCK, CALLER) ? -1 : NEXT(mlock)(address, length);
}

int ftruncate(int fd, off_t length) { return fails(FTRUNCATE, CALLER) ? -1 : NEXT(ftruncate)(fd, length); }
int ftruncate64(int fd, off64_t length) { return fails(FTRUNCATE, CALLER) ? -1 : NEXT(ftruncate64)(fd, length); }

int close(int fd)
{
    int code = fault(CLOSE, CALLER);
    int failed = NEXT(close)(fd);
    if (code <= 0)
        return failed;
    errno = code;
    return -1;
}

long syscall(long number, ...)
{
    long a[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(more, long);
    va_end(more);
    if (number == SYS_memfd_secret && fails(MEMFD_SECRET, CALLER))
        return -1;
    return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
    int code = fault(GETRANDOM, CALLER);
    if (code > 0) {
        errno = code;
        return -1;
    }
    return NEXT(getrandom)(buffer, code == 0 && size > SHORT_BYTES ? SHORT_BYTES : size, flags);
}

ssize_t read(int fd, void *buffer, size_t size)
{
    int code = fault(READ, CALLER);
    if (code > 0) {
        errno = code;
        return -1;
    }
    return NEXT(read)(fd, buffer, code == 0 && size > SHORT_BYTES ? SHORT_BYTES : size);
}

/* glibc declares the first argument as an enum where it can; the symbol is the same. */
#undef getrlimit
int getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
    return fails(GETRLIMIT, CALLER) ? -1 : NEXT(getrlimit)(resource, limit);
}
int getrlimit64(__rlimit_resource_t resource, struct rlimit64 *limit)
{
    return fails(GETRLIMIT, CALLER) ? -1 : NEXT(getrlimit64)(resource, limit);
}

long sysconf(int name) { return fails(SYSCONF, CALLER) ? -1 : NEXT(sysconf)(name); }

/* dlsym itself may allocate: libc's own name for it. */
extern void *__libc_calloc(size_t, size_t);
void *calloc(size_t n, size_t size) { return fails(CALLOC, CALLER) ? NULL : __libc_calloc(n, size); }

int pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    int code = fault(KEY_CREATE, CALLER);
    return code > 0 ? code : NEXT(pthread_key_create)(key, destructor);
}

int pthread_setspecific(pthread_key_t key, const void *value)
{
    int code = fault(SETSPECIFIC, CALLER);
    return code > 0 ? code : NEXT(pthread_setspecific)(key, value);
}

/* atexit(3) is linked into its caller, and calls this. */
extern int __cxa_atexit(void (*)(void *), void *, void *);
int __cxa_atexit(void (*function)(void *), void *argument, void *owner)
{
    return fault(ATEXIT, CALLER) > 0 ? -1 : NEXT(__cxa_atexit)(function, argument, owner);
}

int sigaction(int number, const struct sigaction *action, struct sigaction *before)
{
    return fails(SIGACTION, CALLER) ? -1 : NEXT(sigaction)(number, action, before);
}

/* --- protection keys, pretended where there are none: the calls are made, the pages are as without a key --------- */

static __thread unsigned rights;

int pkey_alloc(unsigned flags, unsigned access)
{
    if (fails(PKEY_ALLOC, CALLER))
        return -1;
    if (shared == NULL || !shared->keys)
        return NEXT(pkey_alloc)(flags, access);
    rights = access;
    return 15;
}

int pkey_mprotect(void *address, size_t length, int protection, int key)
{
    if (fails(protection & PROT_WRITE ? PKEY_OPEN : PKEY_SHUT, CALLER))
        return -1;
    if (shared == NULL || !shared->keys)
        return NEXT(pkey_mprotect)(address, length, protection, key);
    return NEXT(mprotect)(address, length, protection);
}

int pkey_get(int key) { return shared != NULL && shared->keys ? (int)rights : NEXT(pkey_get)(key); }

int pkey_set(int key, unsigned access)
{
    if (fails(PKEY_SET, CALLER))
        return -1;
    if (shared == NULL || !shared->keys)
        return NEXT(pkey_set)(key, access);
    rights = access;
    return 0;
}
