# cython: language_level=3
"""Layer 4: files, pipes and descriptors of any kind into a SecureBytes, by read(2) straight into secret pages.

The size that the kernel tells is a first guess only: pipes and files of /proc have none, and others change meanwhile.
"""
import os

from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, ENOENT, errno
from secalloc_ext.arguments cimport index_size, size_limit
from secalloc_ext.heap cimport heap_free
from secalloc_ext.heapobject cimport Heap
from secalloc_ext.securebytes cimport heap_or_default, securebytes_add_methods, securebytes_of
from secalloc_ext.sources cimport filled_t, source_resize, source_zeros

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void *buffer, size_t size)

cdef enum:
    READ_BYTES = 4096   # first guess for a file of unknown size


cdef Py_ssize_t file_read(int fd, unsigned char *to, Py_ssize_t size) except -1:
    cdef ssize_t got
    while True:
        with nogil:
            got = read(fd, to, <size_t>size)
        if got >= 0:
            return got
        if errno == EINTR:
            PyErr_CheckSignals()
        elif errno == EAGAIN:
            wait_for(fd)
        else:
            PyErr_SetFromErrno(OSError)


cdef int wait_for(int fd) except -1:
    import select

    poller = select.poll()
    poller.register(fd, select.POLLIN)
    poller.poll()
    return 0


cdef int read_exactly(filled_t *to, int fd, Py_ssize_t size, Heap heap) except -1:
    cdef Py_ssize_t count = 0, got
    source_zeros(to, size, heap, False)
    try:
        while count < size:
            got = file_read(fd, to.data + count, size - count)
            if got == 0:
                raise EOFError(f"the file ended after {count} of {size} bytes")
            count += got
    except BaseException:
        heap_free(to.data)
        raise
    return 0


cdef int read_all(filled_t *to, int fd, Py_ssize_t most, Heap heap) except -1:
    """Read to the end. The slot grows on secret pages, its old block wiped; it has room for a byte more than there are,
    as an end is found by reading it."""
    cdef Py_ssize_t expected = max(os.fstat(fd).st_size, 0)
    cdef Py_ssize_t count = 0, got
    source_zeros(to, min(expected if expected else READ_BYTES - 1, most) + 1, heap, False)
    try:
        while True:
            got = file_read(fd, to.data + count, to.size - count)
            if got == 0:
                break
            count += got
            if count > most:
                raise ValueError(f"the file has more than {most} bytes")
            if count == to.size:
                source_resize(to, to.size * 2 if to.size <= most // 2 else most + 1, heap)
        source_resize(to, count, heap)
    except BaseException:
        heap_free(to.data)
        raise
    return 0


cdef int read_descriptor(filled_t *to, int fd, object size, object max_size, Heap heap) except -1:
    if size is None:
        return read_all(to, fd, size_limit(max_size), heap)
    if max_size is not None:
        raise TypeError("either size or max_size")
    return read_exactly(to, fd, index_size(size), heap)


def from_file(file, *, size=None, max_size=None, heap=None):
    """All bytes of a file, from a path or an open descriptor, by read(2) straight into secret pages.

    A descriptor is read from where it stands, and stays open. One that is non-blocking is waited for.

    Parameters
    ----------
    file : path, or int
    size : read so many bytes and not one more; None: to the end
    max_size : refuse a file that has more

    Raises
    ------
    OSError : as ``open`` and ``read`` do
    EOFError : it ended before `size` bytes
    ValueError : it has more than `max_size`

    Notes
    -----
    After an error, what was read of a pipe is lost. The kernel's page cache keeps a file's content, its buffers that of
    a pipe until it is read.
    """
    cdef filled_t slot
    cdef Heap where = heap_or_default(heap)
    if isinstance(file, int):
        read_descriptor(&slot, file, size, max_size, where)
        return securebytes_of(&slot, where, False)
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        read_descriptor(&slot, fd, size, max_size, where)
    finally:
        os.close(fd)
    return securebytes_of(&slot, where, False)


def from_credential(name, *, max_size=None, heap=None):
    """A credential that systemd gave to this service (``LoadCredential=``, ``SetCredentialEncrypted=``, ...).

    Raises
    ------
    FileNotFoundError : there is no such credential, or the process is no service with credentials
    ValueError : `name` is no name of a file
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a credential is a str, not {type(name).__name__}")
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"not the name of a credential: {name!r}")
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise FileNotFoundError(
            ENOENT, "CREDENTIALS_DIRECTORY is not set: systemd sets it for a service with LoadCredential=", name)
    return from_file(os.path.join(folder, name), max_size=max_size, heap=heap)


securebytes_add_methods((staticmethod(from_file), staticmethod(from_credential)))
