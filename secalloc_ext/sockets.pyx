# cython: language_level=3
"""Layer 4: from a socket into a SecureBytes, and back, by the socket's own methods: so timeouts and TLS are as always.

For a plain socket, recv_into is recv(2) into the buffer given, and sendall send(2) out of it.
"""
from libc.string cimport memcpy
from secalloc_ext.arguments cimport index_size, size_limit
from secalloc_ext.heapobject cimport Heap
from secalloc_ext.securebytes cimport (
    SecureBytes, heap_or_default, securebytes_add_methods, securebytes_check, securebytes_new)

cdef enum:
    RECEIVE_BYTES = 4096   # first guess where no size is given


cdef Py_ssize_t receive(object sock, SecureBytes key, Py_ssize_t count) except -1:
    """Receive on into the rest of it; 0 at the end."""
    cdef Py_ssize_t got = -1
    with memoryview(key) as view, view[count:] as rest:
        got = sock.recv_into(rest)
    securebytes_check(key)  # while it waited, another thread may have found and wiped it
    if not 0 <= got <= key.size - count:
        raise ValueError(f"recv_into() received {got} bytes into {key.size - count}")
    return got


cdef SecureBytes resized(SecureBytes key, Py_ssize_t size):
    """Another one of that size, with as many bytes of the first, which is wiped."""
    cdef SecureBytes other = securebytes_new(size, key.heap)
    securebytes_check(key)
    memcpy(other.data, key.data, <size_t>min(size, key.size))
    key.wipe()
    return other


cdef SecureBytes receive_exactly(object sock, Py_ssize_t size, Heap heap):
    cdef SecureBytes key = securebytes_new(size, heap)
    cdef Py_ssize_t count = 0, got
    while count < size:
        got = receive(sock, key, count)
        if got == 0:
            raise EOFError(f"the connection ended after {count} of {size} bytes")
        count += got
    return key


cdef SecureBytes receive_all(object sock, Py_ssize_t most, Heap heap):
    """To the end; there is room for a byte more than there are, as an end is found by receiving it."""
    cdef SecureBytes key = securebytes_new(min(RECEIVE_BYTES - 1, most) + 1, heap)
    cdef Py_ssize_t count = 0, got
    while True:
        got = receive(sock, key, count)
        if got == 0:
            return resized(key, count)
        count += got
        if count > most:
            raise ValueError(f"more than {most} bytes came")
        if count == key.size:
            key = resized(key, key.size * 2 if key.size <= most // 2 else most + 1)


def from_socket(sock, size=None, *, max_size=None, heap=None):
    """Bytes from a connected socket, received straight into secret pages.

    Parameters
    ----------
    sock : socket.socket, ssl.SSLSocket, or whatever else has ``recv_into``
    size : receive so many bytes and not one more; None: until the other side closes
    max_size : refuse more than so many

    Raises
    ------
    OSError : as ``recv_into`` does: TimeoutError, BlockingIOError, ssl.SSLError, ...
    EOFError : the connection ended before `size` bytes
    ValueError : more than `max_size` came

    Notes
    -----
    After an error, what was received is lost. For an SSLSocket, a connection that somebody has cut looks as one that
    was closed: give a size. The kernel's socket buffers hold bytes until they are received; a TLS library decrypts into
    a buffer of its own.
    """
    cdef Heap where = heap_or_default(heap)
    if size is None:
        return receive_all(sock, size_limit(max_size), where)
    if max_size is not None:
        raise TypeError("either size or max_size")
    return receive_exactly(sock, index_size(size), where)


def send(SecureBytes self not None, sock):
    """Send all bytes to a connected socket, straight from the secret pages.

    Parameters
    ----------
    sock : socket.socket, ssl.SSLSocket, or whatever else has ``sendall``

    Raises
    ------
    OSError : as ``sendall`` does; how much was sent till then is not known

    Notes
    -----
    Other threads run meanwhile, and a `wipe` then sends zeros.
    """
    securebytes_check(self)
    with memoryview(self) as view:
        sock.sendall(view)


securebytes_add_methods((staticmethod(from_socket), send))
