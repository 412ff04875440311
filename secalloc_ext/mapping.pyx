# cython: language_level=3
"""Layer 1: reservations, memfd_secret pieces, protection, release.

Called by `chunk` (under its lock) and by `heap` (start-up, fork). Keeps no state of its own, but for how this kernel
counts secret pages. Most count what is mapped against RLIMIT_MEMLOCK, and refuse the mapping. Those with the change
"mm/secretmem: properly account locked pages" (2026) count what is touched, of all processes of a user, root's too, and
send SIGBUS: there every page of a new piece is touched by a system call, which answers EFAULT instead.

A chunk of pieces is one file, mapped piece by piece over the PROT_NONE reservation, so that what lies between two
pieces stays a hole that costs neither memory nor RLIMIT_MEMLOCK::

    file          |piece 0|piece 1|piece 2|
    addresses  ...#|piece 0|#......|piece 1|#......|piece 2|#...      # guard page   . unmapped as well
                   ^first   <------------->
                                stride

Invariants
    - No descriptor outlives the call that opened it: an open secretmem descriptor can be stolen by pidfd_getfd(2).
    - A failed mapping_create leaves the span as it was, PROT_NONE, nothing charged; or it tells how many pieces it
      could not take away again, for its caller to release.
    - A mapped piece is MADV_DONTFORK, so that a child finds a hole there, which `fork` closes at once; but for the
      shadows that `fork` makes for a child, until they are moved to their place in it.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport strtol
from libc.string cimport strstr
from secalloc_ext.prim cimport (
    ERROR_FILES, ERROR_FILE_SIZE, ERROR_FLAGS, ERROR_FORBIDDEN, ERROR_MAP_COUNT, ERROR_MEMLOCK, ERROR_MEMORY,
    ERROR_NONE, ERROR_OTHER, ERROR_PAGE_SIZE, ERROR_RANDOM, ERROR_UNSUPPORTED, FRAME_BYTES, PAGE_BYTES,
    atomic_load_32_relaxed, atomic_store_32_relaxed, fatal_error)
from secalloc_ext.sys cimport (
    EAGAIN, EFAULT, EFBIG, EINTR, EINVAL, EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM, MADV_DONTDUMP, MADV_DONTFORK,
    MADV_WIPEONFORK, MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED,
    MREMAP_FIXED, MREMAP_MAYMOVE, O_CLOEXEC, O_RDONLY, PKEY_DISABLE_ACCESS, PROT_NONE, PROT_READ, PROT_WRITE,
    RLIM_INFINITY, RLIMIT_AS, _SC_PAGESIZE, close, errno, fill_by_kernel, ftruncate, getrandom, getrlimit, madvise,
    memfd_secret, mlock, mmap, mprotect, mremap, munmap, open, pkey_alloc, pkey_get, pkey_mprotect, pkey_set,
    pthread_atfork, read, rlimit, seal_pages, sysconf, usleep)


cdef size_t RESERVATION_BYTES_MAX = <size_t>1 << 40

cdef enum:
    PAUSE_MICROSECONDS = 100

cdef enum:
    COUNTS_UNKNOWN
    COUNTS_MAPPED
    COUNTS_TOUCHED

cdef uint32_t kernel_counts              # set once, by whoever asks first


cdef int mapping_check_machine() noexcept nogil:
    """ERROR_PAGE_SIZE where pages are not PAGE_BYTES long: guards and slots are laid out for that size."""
    return ERROR_NONE if sysconf(_SC_PAGESIZE) == PAGE_BYTES else ERROR_PAGE_SIZE


cdef size_t mapping_address_space() noexcept nogil:
    """Bytes to reserve for objects: 1 TiB, or a quarter of RLIMIT_AS, the rest being the program's own."""
    cdef rlimit limit
    cdef size_t size = RESERVATION_BYTES_MAX
    if getrlimit(RLIMIT_AS, &limit) != 0:
        return size
    while limit.rlim_cur != RLIM_INFINITY and size > limit.rlim_cur / 4 and size > FRAME_BYTES:
        size >>= 1
    return size


cdef void leave_out_of_dumps(uint8_t *first, size_t size) noexcept nogil:
    """gdb's gcore writes out even what is inaccessible, unless it is marked: a terabyte of holes. Where the kernel has
    no map entry left to mark a part of a mapping, the dump is longer, and no worse."""
    madvise(first, size, MADV_DONTDUMP)


cdef uint8_t *mapping_reserve(size_t size) noexcept nogil:
    cdef void *first = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if first == MAP_FAILED:
        return NULL
    leave_out_of_dumps(<uint8_t *>first, size)
    return <uint8_t *>first


cdef void mapping_unreserve(uint8_t *first, size_t size) noexcept nogil:
    if munmap(first, size) != 0:
        fatal_error("pages cannot be released")


cdef int mapping_commit(uint8_t *first, size_t size) noexcept nogil:
    return ERROR_NONE if mprotect(first, size, PROT_READ | PROT_WRITE) == 0 else ERROR_MEMORY


cdef int mapping_seal(uint8_t *first, size_t size) noexcept nogil:
    """ERROR_UNSUPPORTED before Linux 6.10. Of 0 bytes: would it work?"""
    if seal_pages(first, size) == 0:
        return ERROR_NONE
    return ERROR_UNSUPPORTED if errno == ENOSYS else ERROR_OTHER


cdef int error_of_file(int code) noexcept nogil:
    """Why memfd_secret(2) refused."""
    if code == ENOSYS:
        return ERROR_UNSUPPORTED
    if code == EPERM:
        return ERROR_FORBIDDEN
    if code == EINVAL:
        return ERROR_FLAGS
    if code == EMFILE or code == ENFILE:
        return ERROR_FILES
    return ERROR_OTHER


cdef int error_of_piece(int code) noexcept nogil:
    """Why mmap(2) of a piece refused: the secretmem file answers EAGAIN over RLIMIT_MEMLOCK."""
    if code == EAGAIN:
        return ERROR_MEMLOCK
    if code == ENOMEM:
        return ERROR_MAP_COUNT
    return ERROR_OTHER


cdef int mapping_probe(unsigned flags) noexcept nogil:
    cdef int fd = memfd_secret(flags | <unsigned>O_CLOEXEC)
    if fd < 0:
        return error_of_file(errno)
    close(fd)
    return ERROR_NONE


cdef int map_secret_piece(uint8_t *first, size_t piece, int fd, size_t offset) noexcept nogil:
    """Where a limit allows it, map a piece elsewhere; then move it to `first`. A MAP_FIXED that the limit refuses has
    unmapped by then what lay there, for anything in the process to land in."""
    cdef int error
    cdef void *elsewhere = mmap(NULL, piece, PROT_READ | PROT_WRITE, MAP_SHARED, fd, <long>offset)
    if elsewhere == MAP_FAILED:
        return error_of_piece(errno)
    if mremap(elsewhere, piece, piece, MREMAP_MAYMOVE | MREMAP_FIXED, first) != MAP_FAILED:
        return ERROR_NONE
    error = error_of_piece(errno)
    if munmap(elsewhere, piece) != 0:
        fatal_error("pages cannot be released")
    # Refused before anything is unmapped, but for want of the kernel's own memory.
    mmap(first, piece, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0)
    return error


cdef int map_secret_pieces(uint8_t *first, size_t piece, size_t stride, size_t count, unsigned flags,
                           size_t *mapped) noexcept nogil:
    cdef int error = ERROR_NONE
    cdef size_t i
    cdef int fd = memfd_secret(flags | <unsigned>O_CLOEXEC)
    if fd < 0:
        return error_of_file(errno)
    if ftruncate(fd, <long>(piece * count)) != 0:
        error = ERROR_FILE_SIZE if errno == EFBIG else ERROR_OTHER
    for i in range(count):
        if error != ERROR_NONE:
            break
        error = map_secret_piece(first + i * stride, piece, fd, i * piece)
        if error == ERROR_NONE:
            mapped[0] += 1
    close(fd)
    return error


cdef long locked_kib() noexcept nogil:
    """What the kernel says that this process has locked; -1 where it does not."""
    cdef char text[4096]
    cdef char *found
    cdef ssize_t got, count = 0
    cdef int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC)
    if fd < 0:
        return -1
    while count < <ssize_t>sizeof(text) - 1:
        got = read(fd, text + count, sizeof(text) - 1 - count)
        if got <= 0:
            break
        count += got
    close(fd)
    text[count] = 0
    found = strstr(text, b"VmLck:")
    return strtol(found + 6, NULL, 10) if found != NULL else -1


cdef bint mapping_counts_touches() noexcept nogil:
    """Asked of the kernel once, by a page that is mapped and not touched: is it locked already?"""
    cdef uint32_t counted = atomic_load_32_relaxed(&kernel_counts)
    cdef long before, after
    cdef void *page
    cdef int fd
    if counted != COUNTS_UNKNOWN:
        return counted == COUNTS_TOUCHED
    fd = memfd_secret(<unsigned>O_CLOEXEC)
    if fd < 0 or ftruncate(fd, PAGE_BYTES) != 0:
        if fd >= 0:
            close(fd)
        return False
    before = locked_kib()
    page = mmap(NULL, PAGE_BYTES, PROT_NONE, MAP_SHARED, fd, 0)
    counted = COUNTS_MAPPED
    if page != MAP_FAILED:
        after = locked_kib()
        if before >= 0 and after == before:
            counted = COUNTS_TOUCHED
        if munmap(page, PAGE_BYTES) != 0:
            fatal_error("pages cannot be released")
    elif errno != EAGAIN:
        counted = COUNTS_UNKNOWN
    close(fd)
    atomic_store_32_relaxed(&kernel_counts, counted)
    return counted == COUNTS_TOUCHED


cdef int touch_pieces(uint8_t *first, size_t piece, size_t stride, size_t count) noexcept nogil:
    """Have every page there now, or be told that it cannot be. They are zero afterwards, as before."""
    cdef size_t i, j
    cdef uint8_t *page
    cdef long filled
    for i in range(count):
        for j in range(piece // <size_t>PAGE_BYTES):
            page = first + i * stride + j * PAGE_BYTES
            filled = -1
            while filled < 0:
                filled = fill_by_kernel(page, 1)
                if filled < 0 and errno != EINTR:
                    return ERROR_MEMLOCK if errno == EFAULT else ERROR_RANDOM
            page[0] = 0
    return ERROR_NONE


cdef int map_locked_pieces(uint8_t *first, size_t piece, size_t stride, size_t count, size_t *mapped) noexcept nogil:
    cdef size_t i
    for i in range(count):
        if mmap(first + i * stride, piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                0) == MAP_FAILED:
            return error_of_piece(errno)
        mapped[0] += 1
        if mlock(first + i * stride, piece) != 0:
            return ERROR_MEMLOCK if errno in (EAGAIN, ENOMEM, EPERM) else ERROR_OTHER
        if madvise(first + i * stride, piece, MADV_DONTDUMP) != 0:
            return ERROR_OTHER
    return ERROR_NONE


cdef int mapping_create(uint8_t *first, size_t piece, size_t stride, size_t count, int backend,
                        unsigned flags, bint inherited, size_t *left) noexcept nogil:
    """Map `count` pieces of `piece` bytes (whole pages) at `first`, `first + stride`, ...; a child gets them only if
    `inherited`. On failure, `left` is how many pieces are mapped all the same: most often 0."""
    cdef int error
    cdef size_t i
    left[0] = 0
    if backend == BACKEND_SECRETMEM:
        error = map_secret_pieces(first, piece, stride, count, flags, left)
        if error == ERROR_NONE and mapping_counts_touches():
            error = touch_pieces(first, piece, stride, count)
    else:
        error = map_locked_pieces(first, piece, stride, count, left)
    for i in range(count):
        if error != ERROR_NONE or inherited:
            break
        if madvise(first + i * stride, piece, MADV_DONTFORK) != 0:
            error = ERROR_OTHER
    # Only what is mapped, so that no mapping is split: there may be no map entry left for that. The kernel refuses all
    # the same when the last piece took the process beyond vm.max_map_count, as one may.
    if error != ERROR_NONE and left[0] > 0 and mapping_release(first, (left[0] - 1) * stride + piece) == ERROR_NONE:
        left[0] = 0
    return error


cdef int mapping_release(uint8_t *first, size_t span) noexcept nogil:
    """One PROT_NONE mapping over the span. Refunds memlock; the kernel zeroes the pages as it frees them."""
    if mmap(first, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED:
        return ERROR_MAP_COUNT
    leave_out_of_dumps(first, span)
    return ERROR_NONE


cdef int mapping_move(uint8_t *first, uint8_t *to, size_t size, int backend) noexcept nogil:
    """In a forked child: put an inherited piece where its original lay, and lock it, as a child's pages are not."""
    if mremap(first, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED:
        return ERROR_MAP_COUNT
    if madvise(to, size, MADV_DONTFORK) != 0:
        return ERROR_OTHER
    if backend == BACKEND_MLOCK and mlock(to, size) != 0:
        return ERROR_MEMLOCK
    return ERROR_NONE


cdef int mapping_protect(uint8_t *first, size_t size, int access, int key) noexcept nogil:
    """Set what the pages allow, and, unless it is KEY_NONE, the protection key that they are under."""
    cdef int protection = PROT_NONE
    cdef int failed
    if access == ACCESS_READ:
        protection = PROT_READ
    elif access == ACCESS_READ_WRITE:
        protection = PROT_READ | PROT_WRITE
    if key == KEY_NONE:
        failed = mprotect(first, size, protection)
    else:
        failed = pkey_mprotect(first, size, protection, key)
    return ERROR_NONE if failed == 0 else ERROR_MAP_COUNT


cdef int mapping_key_create() noexcept nogil:
    """A new protection key, denied to every thread until mapping_key_allow; a thread that is started by one that it
    is allowed to has it allowed as well."""
    cdef int key = pkey_alloc(0, PKEY_DISABLE_ACCESS)
    return key if key > 0 else KEY_NONE


cdef bint mapping_key_allow(int key, bint allow) noexcept nogil:
    """Change a register of this thread; no system call."""
    cdef bint allowed = pkey_get(key) == 0
    if pkey_set(key, 0 if allow else PKEY_DISABLE_ACCESS) != 0:
        fatal_error("protection cannot be changed")
    return allowed


cdef int mapping_random(void *buffer, size_t size) noexcept nogil:
    """Random bytes from getrandom(2), straight to where they are wanted."""
    cdef uint8_t *next = <uint8_t *>buffer
    cdef ssize_t got
    while size > 0:
        got = getrandom(next, size, 0)
        if got < 0:
            if errno == EINTR:
                continue
            return ERROR_RANDOM
        next += got
        size -= <size_t>got
    return ERROR_NONE


cdef uint64_t *mapping_fork_word() noexcept nogil:
    """A word of its own page, 1 in this process. The kernel zeroes it in a child, also in one made by raw clone(2),
    which runs no handlers. NULL where there is none to be had."""
    cdef void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if page == MAP_FAILED:
        return NULL
    if madvise(page, PAGE_BYTES, MADV_WIPEONFORK) != 0:
        mapping_unreserve(<uint8_t *>page, PAGE_BYTES)
        return NULL
    (<uint64_t *>page)[0] = 1
    return <uint64_t *>page


cdef void mapping_pause() noexcept nogil:
    usleep(PAUSE_MICROSECONDS)


cdef int mapping_at_fork(fork_handler_t prepare, fork_handler_t parent, fork_handler_t child) noexcept nogil:
    return ERROR_NONE if pthread_atfork(prepare, parent, child) == 0 else ERROR_MEMORY
