# cython: language_level=3
"""Layer 5: the buffers in which OpenBLAS keeps what it last multiplied, found and wiped.

Each library maps its buffers once and never again gives them up: blocks of matrices stay there, repacked. One is for
the thread that calls, one for each of its own threads, which never let go of theirs; so while buffers are to be
wiped, the library computes in the calling threads alone. Which mapping is a buffer, the library says itself
(`blas_memory_alloc`), and how big one is, is measured before anything is written: by what the process's size grows
when it has to map one.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uintptr_t
from libc.stdlib cimport malloc
from secalloc_ext.prim cimport PAGE_BYTES, wipe

import os
import struct

from secalloc_ext.elfsymbols import functions

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <dlfcn.h>
    #include <link.h>
    #include <string.h>
    #include <sys/mman.h>

    enum { BLAS_LIBRARIES_MAX = 8 };
    typedef struct {
        void *(*alloc)(int);
        void (*free)(void *);
        int (*threads)(void);
        void (*set_threads)(int);
        size_t bytes;   /* of a buffer */
        int before;     /* threads, before they were made one */
        size_t base;    /* where the library is loaded */
        char path[4096];
    } blas_t;
    typedef struct { blas_t *found; int count; } blas_list_t;

    static int blas_look(struct dl_phdr_info *object, size_t size, void *data)
    {
        blas_list_t *list = (blas_list_t *)data;
        static const char *const names[][2] = {
            {"scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"},
            {"scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"},
            {"openblas_get_num_threads64_", "openblas_set_num_threads64_"},
            {"openblas_get_num_threads", "openblas_set_num_threads"},
        };
        (void)size;
        if (strstr(object->dlpi_name, "blas") == NULL || list->count == BLAS_LIBRARIES_MAX)
            return 0;
        void *library = dlopen(object->dlpi_name, RTLD_NOW | RTLD_NOLOAD);
        if (library == NULL)
            return 0;
        blas_t *blas = &list->found[list->count];
        blas->alloc = (void *(*)(int))dlsym(library, "blas_memory_alloc");
        blas->free = (void (*)(void *))dlsym(library, "blas_memory_free");
        blas->base = object->dlpi_addr;
        strncpy(blas->path, object->dlpi_name, sizeof blas->path - 1);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            blas->threads = (int (*)(void))dlsym(library, names[i][0]);
            blas->set_threads = (void (*)(int))dlsym(library, names[i][1]);
            if (blas->threads && blas->set_threads) {
                list->count++;   /* the library stays open: it is not to go while it is known here */
                return 0;
            }
        }
        dlclose(library);
        return 0;
    }

    static int blas_find(blas_t *found)
    {
        memset(found, 0, BLAS_LIBRARIES_MAX * sizeof *found);
        blas_list_t list = {found, 0};
        dl_iterate_phdr(blas_look, &list);
        return list.count;
    }
    """
    enum: BLAS_LIBRARIES_MAX
    ctypedef struct blas_t:
        void *(*alloc)(int) noexcept nogil
        void (*free)(void *) noexcept nogil
        int (*threads)() noexcept nogil
        void (*set_threads)(int) noexcept nogil
        size_t bytes
        int before
        size_t base
        char path[4096]
    int blas_find(blas_t *found) nogil
    int mincore(void *p, size_t size, unsigned char *resident) nogil

cdef enum:
    BUFFERS_MAX = 64        # held at once, of a library
    TRIES = 5               # at the size of a buffer, while other threads map memory as well
    BUFFER_BYTES_MIN = 1 << 20

cdef blas_t libraries[BLAS_LIBRARIES_MAX]
cdef blas_t found[BLAS_LIBRARIES_MAX]
cdef int library_count = -1      # not looked for yet
cdef unsigned char *resident = NULL  # a byte for each page of a buffer


cdef size_t process_bytes() except 0:
    """The size of all mappings."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * <size_t>PAGE_BYTES


cdef size_t growth(blas_t *blas, void **held, int *count) except? 0:
    """By what the process grows when the library needs one buffer more than it has. All are held; 0: it has too
    many."""
    cdef size_t before, after
    while count[0] < BUFFERS_MAX:
        before = process_bytes()
        held[count[0]] = blas.alloc(0)
        if held[count[0]] == NULL:
            return 0
        count[0] += 1
        after = process_bytes()
        if after > before:
            return after - before
    return 0


cdef bint is_mapped(const void *p, size_t size) except -1:
    """Whether the range is part of one private mapping of no file, that can be written."""
    cdef uintptr_t first = <uintptr_t>p
    with open("/proc/self/maps") as file:
        for line in file:
            span, protection, _, _, inode, *_ = line.split()
            start, end = (int(edge, 16) for edge in span.split("-"))
            if start <= first < end:
                return first + size <= end and protection == "rw-p" and inode == "0"
    return False


cdef size_t buffer_bytes(blas_t *blas) except? 0:
    """The size of the library's buffers; 0: it cannot be told for certain."""
    cdef void *held[BUFFERS_MAX]
    cdef int count = 0, i
    cdef size_t size = 0, again = 0, result = 0
    try:
        for _ in range(TRIES):
            size = growth(blas, held, &count)
            again = growth(blas, held, &count)
            if size < BUFFER_BYTES_MIN or size & (size - 1) or size != again:
                continue
            if is_mapped(held[count - 1], size):
                result = size
                break
    finally:
        for i in range(count):
            blas.free(held[i])
    return result


cdef void *local_function(blas_t *blas, bytes name) except? NULL:
    """A function that the library has and does not export, as wheels of numpy from 2.5 on; NULL: it is not to be found.

    By the symbol table of the library's file, which may have been exchanged since: its code must be what is loaded.
    """
    cdef size_t address
    try:
        function = functions(os.fsdecode(blas.path), (name,)).get(name)
    except (OSError, ValueError, struct.error):
        return NULL  # gone, or no such file: then nothing is known of it
    if function is None:
        return NULL
    address = blas.base + <size_t>function.offset
    loaded = PyBytes_FromStringAndSize(<char *>address, len(function.start))
    return <void *>address if loaded == function.start else NULL


cdef bint complete(blas_t *blas) except -1:
    """Whether the library's buffers can be had."""
    if blas.alloc == NULL or blas.free == NULL:
        blas.alloc = <void *(*)(int) noexcept nogil>local_function(blas, b"blas_memory_alloc")
        blas.free = <void (*)(void *) noexcept nogil>local_function(blas, b"blas_memory_free")
    return blas.alloc != NULL and blas.free != NULL


def find():
    """Look for OpenBLAS in this process, at each call again until one is there. Answers how many there are."""
    global library_count, resident
    cdef int i, count
    cdef size_t pages = 0
    if library_count > 0:
        return library_count
    count = blas_find(found)
    library_count = 0
    for i in range(count):
        if not complete(&found[i]):
            continue
        found[i].bytes = buffer_bytes(&found[i])
        if found[i].bytes:
            libraries[library_count] = found[i]
            library_count += 1
            pages = max(pages, found[i].bytes // PAGE_BYTES)
    if library_count:
        resident = <unsigned char *>malloc(pages)
        if resident == NULL:
            library_count = 0
            raise MemoryError()
    return library_count


cdef void openblas_begin() noexcept:
    """From here on computes in the calling threads alone, process-wide."""
    cdef int i
    for i in range(library_count):
        libraries[i].before = libraries[i].threads()
        libraries[i].set_threads(1)


cdef void openblas_end() noexcept:
    cdef int i
    for i in range(library_count):
        libraries[i].set_threads(libraries[i].before)


cdef bint buffer_wipe(void *p, size_t size) noexcept:
    """Wipe what was ever touched of a buffer; whether that was anything. What cannot be told was."""
    cdef size_t i, pages = size // PAGE_BYTES
    cdef bint any = False
    if mincore(p, size, resident) != 0:
        wipe(p, size)
        return True
    for i in range(pages):
        if resident[i] & 1:
            wipe(<char *>p + i * PAGE_BYTES, PAGE_BYTES)
            any = True
    return any


cdef void openblas_wipe() noexcept:
    """Wipe all buffers that no call is using. The library hands them out in order: the first that was never touched is
    followed by others of its kind only."""
    cdef void *held[BUFFERS_MAX]
    cdef int i, count
    for i in range(library_count):
        count = 0
        while count < BUFFERS_MAX:
            held[count] = libraries[i].alloc(0)
            if held[count] == NULL:
                break
            count += 1
            if not buffer_wipe(held[count - 1], libraries[i].bytes):
                break
        while count > 0:
            count -= 1
            libraries[i].free(held[count])
