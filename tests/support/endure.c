/* One thread that makes, checks, resizes and frees objects of all sizes and kinds through the C API, in random order.
 *
 * At most PLACES of them live at a time, none at the end, but for every `leak`-th that is forgotten, if `leak` is not 0. An
 * object is filled with its own size's byte and must hold it to its end; fresh memory must be zero. Answers how many
 * contracts were broken.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "filling.h"

enum { PLACES = 300, GROWTH_MAX = 500 };
enum { NOACCESS, READONLY, READWRITE };

struct functions {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    void *(*guarded_alloc)(size_t);
    int (*protect)(void *, int);
    void (*free)(void *);
    size_t (*usable_size)(void *);
};

struct object {
    unsigned char *p;
    int guarded;
};

static size_t some_size(uint64_t *random)
{
    uint64_t kind = next(random) % 1024;
    return next(random) % (kind == 0 ? 400000 : kind < 24 ? 30000 : 300);
}

static struct object make(const struct functions *secalloc, size_t size, uint64_t *random)
{
    uint64_t kind = next(random) % 64;
    struct object made = {NULL, kind == 0};
    if (kind == 0)
        made.p = secalloc->guarded_alloc(size);
    else if (kind < 4)
        made.p = secalloc->aligned_alloc((size_t)1 << next(random) % 13, size);
    else if (kind < 12)
        made.p = secalloc->calloc(1, size);
    else
        made.p = secalloc->malloc(size);
    return made;
}

static long drop(const struct functions *secalloc, struct object object, uint64_t *random)
{
    size_t size = secalloc->usable_size(object.p);
    long broken = !holds(object.p, size, byte_of(size));
    if (object.guarded)
        broken += secalloc->protect(object.p, (int)(next(random) % 3)) != 0;
    secalloc->free(object.p);
    return broken;
}

long endure(const struct functions *secalloc, long operations, long leak, uint64_t random)
{
    static struct object places[PLACES];
    long broken = 0;
    for (long i = 1; i <= operations; i++) {
        struct object *place = &places[next(&random) % PLACES];
        size_t size = some_size(&random);
        if (place->p == NULL) {
            *place = make(secalloc, size, &random);
            if (place->p == NULL)
                return broken + 1;
            broken += !holds(place->p, size, 0);
            memset(place->p, byte_of(size), size);
        } else if (leak != 0 && i % leak == 0) {
            place->p = NULL;
        } else if (next(&random) % 4 == 0) {
            size_t old = secalloc->usable_size(place->p);
            size_t grown = old + next(&random) % GROWTH_MAX;
            place->p = secalloc->realloc(place->p, grown);
            if (place->p == NULL)
                return broken + 1;
            broken += !holds(place->p, old, byte_of(old)) || !holds(place->p + old, grown - old, 0);
            memset(place->p, byte_of(grown), grown);
        } else {
            broken += drop(secalloc, *place, &random);
            place->p = NULL;
        }
    }
    for (int i = 0; i < PLACES; i++) {
        if (places[i].p != NULL)
            broken += drop(secalloc, places[i], &random);
        places[i].p = NULL;
    }
    return broken;
}
