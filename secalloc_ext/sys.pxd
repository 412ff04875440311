"""Layer 0: the system calls of layer 1, and nothing else. Only mapping.pyx cimports this file."""
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <pthread.h>
    #include <sys/mman.h>
    #include <sys/random.h>
    #include <sys/resource.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #ifndef SYS_memfd_secret
    #define SYS_memfd_secret 447
    #endif
    /* The system call itself: what the C library has in its place writes by itself, and would die of a signal. */
    static inline long fill_by_kernel(void *target, size_t size)
    {
        return syscall(SYS_getrandom, target, size, 0);
    }
    #ifndef SYS_mseal
    #define SYS_mseal 462
    #endif
    static inline int memfd_secret(unsigned flags) { return (int)syscall(SYS_memfd_secret, flags); }
    static inline int seal_pages(void *address, size_t length) { return (int)syscall(SYS_mseal, address, length, 0L); }
    """
    int errno
    int EAGAIN, EFAULT, EFBIG, EINTR, EINVAL, EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM
    int O_CLOEXEC, O_RDONLY
    int PROT_NONE, PROT_READ, PROT_WRITE
    int MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_NORESERVE
    int MADV_DONTFORK, MADV_DONTDUMP, MADV_WIPEONFORK
    int MREMAP_MAYMOVE, MREMAP_FIXED
    void *MAP_FAILED
    int RLIMIT_AS
    int PKEY_DISABLE_ACCESS
    int _SC_PAGESIZE
    ctypedef unsigned long rlim_t
    rlim_t RLIM_INFINITY
    cdef struct rlimit:
        rlim_t rlim_cur
        rlim_t rlim_max

    int memfd_secret(unsigned flags) noexcept nogil
    int ftruncate(int fd, long length) noexcept nogil
    int close(int fd) noexcept nogil
    void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset) noexcept nogil
    int munmap(void *address, size_t length) noexcept nogil
    void *mremap(void *address, size_t old, size_t new, int flags, void *target) noexcept nogil
    int mprotect(void *address, size_t length, int protection) noexcept nogil
    int pkey_alloc(unsigned flags, unsigned rights) noexcept nogil
    int pkey_mprotect(void *address, size_t length, int protection, int key) noexcept nogil
    int pkey_get(int key) noexcept nogil
    int pkey_set(int key, unsigned rights) noexcept nogil
    int seal_pages(void *address, size_t length) noexcept nogil
    int madvise(void *address, size_t length, int advice) noexcept nogil
    int mlock(const void *address, size_t length) noexcept nogil
    int usleep(unsigned microseconds) noexcept nogil
    long fill_by_kernel(void *target, size_t size) noexcept nogil
    int open(const char *path, int flags) noexcept nogil
    ssize_t read(int fd, void *buffer, size_t size) noexcept nogil
    ssize_t getrandom(void *buffer, size_t size, unsigned flags) noexcept nogil
    int getrlimit(int resource, rlimit *limit) noexcept nogil
    long sysconf(int name) noexcept nogil
    int pthread_atfork(void (*prepare)() noexcept, void (*parent)() noexcept, void (*child)() noexcept) noexcept nogil
