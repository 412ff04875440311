# cython: language_level=3
"""Layer 5: what a libcrypto allocates, on the pages of a heap of its own (CRYPTO_set_mem_functions(3)).

A process may have several: the one that `_ssl` and `_hashlib` need, and those that wheels have linked in. Each is found
by the file that needs it, loaded without being initialized, as before its first allocation only OpenSSL lets itself be
told where to allocate. The heap is one for all, and is never given back: libcrypto keeps objects to the end of the
process and in every child, so it is `on_fork="copy"`.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from secalloc_ext.cache cimport heap_t
from secalloc_ext.heap cimport heap_alloc, heap_around, heap_free, heap_owns, heap_realloc
from secalloc_ext.heapobject cimport Heap, raise_error
from secalloc_ext.prim cimport likely, unlikely

import os
import struct
import sys

from secalloc_ext.elfsymbols import functions
from secalloc_ext.errors import TooLateError, UnsupportedError

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <dlfcn.h>
    #include <link.h>

    /* Where the loaded file is, from the handle that dlopen gave. */
    static size_t library_base(void *handle)
    {
        struct link_map *map = NULL;
        return dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map != NULL ? (size_t)map->l_addr : 0;
    }
    /* The file that an address is in; NULL: in none. */
    static const char *library_around(const void *p)
    {
        Dl_info info;
        return dladdr(p, &info) != 0 ? info.dli_fname : NULL;
    }
    """
    int RTLD_NOW, RTLD_LAZY, RTLD_NOLOAD
    void *dlopen(const char *path, int flags)
    void *dlsym(void *handle, const char *name)
    int dlclose(void *handle)
    const char *dlerror()
    size_t library_base(void *handle)
    const char *library_around(const void *p)

cdef extern from *:
    """
    /* Of this module alone: all of the hooks are here. */
    static _Thread_local void *watched __attribute__((tls_model("initial-exec")));
    """
    void *watched   # watch_t *

ctypedef void *(*malloc_t)(size_t size, const char *file, int line) noexcept nogil
ctypedef void *(*realloc_t)(void *p, size_t size, const char *file, int line) noexcept nogil
ctypedef void (*free_t)(void *p, const char *file, int line) noexcept nogil
ctypedef int (*set_functions_t)(malloc_t, realloc_t, free_t) noexcept nogil
ctypedef void (*get_functions_t)(malloc_t *, realloc_t *, free_t *) noexcept nogil
ctypedef unsigned long (*version_number_t)() noexcept nogil
ctypedef const char *(*version_t)(int) noexcept nogil
ctypedef int (*init_t)(uint64_t options, const void *settings) noexcept nogil

cdef enum:
    PROBE_BYTES = 48
    VERSION_1_1_0 = 0x10100000  # before it the functions had no file and line
    NO_ATEXIT = 0x80000         # OPENSSL_INIT_NO_ATEXIT

# What this file calls; libraries that do not export them have them in their symbol table, or cannot be routed.
_NAMES = (b"CRYPTO_set_mem_functions", b"CRYPTO_get_mem_functions", b"CRYPTO_malloc", b"CRYPTO_realloc", b"CRYPTO_free",
          b"OpenSSL_version", b"OpenSSL_version_num", b"OPENSSL_init_crypto")

cdef Heap objects = None      # of every libcrypto that is routed
cdef heap_t *target = NULL    # the same


cdef void *crypto_malloc(size_t size, const char *file, int line) noexcept nogil:
    cdef void *p = heap_alloc(target, size, False) if likely(size) else NULL
    cdef watch_t *watch = <watch_t *>watched
    if unlikely(watch != NULL) and size >= WATCHED_BYTES_MIN and watch.count < WATCHED_MAX:
        watch.blocks[watch.count] = p
        watch.count += 1
    return p


cdef void crypto_free(void *p, const char *file, int line) noexcept nogil:
    if p != NULL:
        heap_free(p)


cdef void *crypto_realloc(void *p, size_t size, const char *file, int line) noexcept nogil:
    if size == 0:
        crypto_free(p, file, line)
        return NULL
    return heap_realloc(target, p, size, False)


cdef void crypto_watch(watch_t *watch) noexcept:
    global watched
    watched = watch
    if watch != NULL:
        watch.count = 0


def heap():
    """The heap of all libcryptos that are routed, or None before the first."""
    return objects


cdef int open_heap(limit) except -1:
    """Make the heap, and see that there is secret memory: OpenSSL could only say that there is none."""
    global objects, target
    cdef heap_t *made_target
    cdef void *first
    if objects is not None:
        return 0
    made = Heap("openssl", limit=limit, on_fork="copy")
    made_target = (<Heap>made).get()
    first = heap_alloc(made_target, PROBE_BYTES, False)
    if first == NULL:
        raise_error(made_target, PROBE_BYTES)
    heap_free(first)
    objects, target = made, made_target
    return 0


cdef class Library:
    """The libcrypto that a file needs, or has linked in.

    Parameters
    ----------
    needed_by : path of a shared library, which is loaded; "": the interpreter

    Raises
    ------
    UnsupportedError : it has none whose functions can be found, or one older than OpenSSL 1.1.0
    OSError : the file cannot be loaded
    """

    def __init__(self, needed_by):
        path = os.fsencode(needed_by)
        self.needed_by = needed_by
        self.handle = dlopen(<const char *>path if path else NULL, RTLD_NOW)
        if self.handle == NULL:
            raise OSError((<bytes>dlerror()).decode(errors="replace"))
        self.base = library_base(self.handle)
        self.inside = {}
        if path and dlsym(self.handle, _NAMES[0]) == NULL:
            try:
                self.inside = functions(needed_by, _NAMES)
            except (ValueError, struct.error) as error:
                raise UnsupportedError(f"{needed_by}: {error}") from error
            if not self.inside:
                raise UnsupportedError(
                    f"{needed_by} exports none of OpenSSL's functions, and has no symbol table with them: "
                    "was it stripped?")
        number = (<version_number_t>self.function(b"OpenSSL_version_num"))()
        self.version = (<bytes>(<version_t>self.function(b"OpenSSL_version"))(0)).decode(errors="replace")
        if number < VERSION_1_1_0:
            raise UnsupportedError(f"{needed_by} has {self.version}, which is older than 1.1.0")
        where = library_around(self.function(_NAMES[0]))
        self.path = os.fsdecode(<bytes>where) if where != NULL else ""

    def __reduce__(self):
        raise TypeError("a library cannot be pickled")

    cdef void *function(self, bytes name) except NULL:
        """By the library's exports, or by the symbol table of its file, whose code must be what is loaded."""
        cdef void *exported = dlsym(self.handle, name)
        cdef size_t address
        if exported != NULL:
            return exported
        found = self.inside.get(name)
        if found is not None:
            address = self.base + <size_t>found.offset
            if PyBytes_FromStringAndSize(<char *>address, len(found.start)) == found.start:
                return <void *>address
        raise UnsupportedError(f"{self.needed_by or sys.executable} has no function {name.decode()} that can be found")

    @property
    def routed(self):
        """Whether it allocates on the secret heap, as it says itself."""
        cdef malloc_t now = NULL
        cdef realloc_t resize = NULL
        cdef free_t release = NULL
        (<get_functions_t>self.function(b"CRYPTO_get_mem_functions"))(&now, &resize, &release)
        return now == crypto_malloc and resize == crypto_realloc and release == crypto_free

    def users(self):
        """Names of the modules loaded that reach this libcrypto, in the order of their import."""
        cdef void *own = self.function(_NAMES[0])
        cdef void *handle
        found = []
        for name, module in list(sys.modules.items()):
            path = os.fsencode(getattr(getattr(module, "__spec__", None), "origin", None) or "")
            if not path.startswith(b"/") or b".so" not in os.path.basename(path):
                continue
            if path == os.fsencode(self.needed_by):
                found.append(name)
                continue
            handle = dlopen(path, RTLD_LAZY | RTLD_NOLOAD)
            if handle == NULL:
                continue
            if dlsym(handle, _NAMES[0]) == own:
                found.append(name)
            dlclose(handle)
        return found

    def route(self, limit=None):
        """Have it allocate on the secret heap from here on, and try that it does.

        Raises
        ------
        TooLateError : it has allocated already
        UnsupportedError : it takes no functions, or does not use them
        SecretMemoryUnavailable, MemlockLimitError : there is no secret memory
        """
        if self.routed:
            return
        set_functions = <set_functions_t>self.function(b"CRYPTO_set_mem_functions")
        open_heap(limit)
        if not set_functions(crypto_malloc, crypto_realloc, crypto_free):
            users = self.users()
            raise TooLateError(
                f"{self.path} has allocated memory already"
                + (f", for {users[0]}" if users else "")
                + ": secalloc.openssl.install() comes before every import that needs it")
        if not (self.routed and self.lands()):
            raise UnsupportedError(f"{self.path} ({self.version}) does not allocate where it was told to")
        # At exit it would go through all that it has, which `wipe_on_signal(at_exit=True)` may have wiped by then.
        (<init_t>self.function(b"OPENSSL_init_crypto"))(NO_ATEXIT, NULL)

    cdef bint lands(self) except -1:
        """Allocate, grow and free by its own functions, and see where that was."""
        cdef void *p = (<malloc_t>self.function(b"CRYPTO_malloc"))(PROBE_BYTES, NULL, 0)
        cdef void *grown
        cdef bint is_ours = p != NULL and heap_owns(p) and heap_around(p) == target
        if not is_ours:
            return False  # whatever it is, it is left alone
        grown = (<realloc_t>self.function(b"CRYPTO_realloc"))(p, 100 * PROBE_BYTES, NULL, 0)
        is_ours = grown != NULL and heap_owns(grown)
        (<free_t>self.function(b"CRYPTO_free"))(grown if grown != NULL else p, NULL, 0)
        return is_ours
