/* Layer 5: the free lists of Python that keep what an object held: emptied into the spares before a scope, so that no object
 * of the scope lies in ordinary memory, and filled with them behind it, so that what was freed in the scope is really freed.
 *
 * Which ones: pycore_freelist_state.h and, before 3.14, floatobject.c. The others keep pointers only.
 */
#ifndef SECALLOC_FREELISTS_H
#define SECALLOC_FREELISTS_H

#include <Python.h>

enum { FREELIST_MAX = 100 /* objects kept of a type */, FREELIST_TYPES_MAX = 3 };

typedef struct {
    PyObject *objects[FREELIST_TYPES_MAX * FREELIST_MAX];
    int count;
    void *writer; /* PyBytesWriter of 3.15: holds 256 bytes itself; one is kept */
} spares_t;

static inline void spares_add(spares_t *spares, PyObject *object)
{
    if (object != NULL)
        spares->objects[spares->count++] = object;
    else
        PyErr_Clear(); /* no memory for one more: then there is none that could be kept either */
}

/* Whatever is free goes into them; all that the lists have, and new ones where they have less. */
__attribute__((noinline, unused)) static void spares_take(spares_t *spares)
{
    spares->count = 0;
    spares->writer = NULL;
    for (int i = 0; i < FREELIST_MAX; i++) {
        spares_add(spares, PyFloat_FromDouble(0.5));
#if PY_VERSION_HEX >= 0x030e0000
        spares_add(spares, PyLong_FromLong(1 << 20)); /* none of those that are made once */
#endif
#if PY_VERSION_HEX >= 0x030f0000
        spares_add(spares, PyComplex_FromDoubles(0.5, 0.5));
#endif
    }
#if PY_VERSION_HEX >= 0x030f0000
    spares->writer = PyBytesWriter_Create(1);
    if (spares->writer == NULL)
        PyErr_Clear();
#endif
}

__attribute__((noinline, unused)) static void spares_give(spares_t *spares)
{
    while (spares->count > 0)
        Py_DECREF(spares->objects[--spares->count]);
#if PY_VERSION_HEX >= 0x030f0000
    PyBytesWriter_Discard((PyBytesWriter *)spares->writer);
    spares->writer = NULL;
#endif
}

/* The lists are filled with what was kept, and what is on them now is given back, which is wiped then. Not inlined: its array
 * would lie in the frame of the caller, who wipes only what is below. */
__attribute__((noinline, unused)) static void spares_exchange(spares_t *spares)
{
    spares_t used;
    spares_take(&used);
    spares_give(spares);
    spares_give(&used);
}

#endif
