# cython: language_level=3
"""Layer 4: SecureBytes, a bytearray of fixed size on secret pages.

The object's header is an ordinary Python object without secret content; `data` is the slot. Where a method makes
secret bytes of secret bytes, the result is a SecureBytes in the same heap.

Thread safety: as bytearray's, each operation is atomic under the GIL, but for reads from a file descriptor and of
random bytes, which release it while no other thread can see the object: not even the garbage collector knows it then.
"""
import os

cimport cython
from cpython.buffer cimport (
    PyBUF_FULL_RO, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_IsContiguous, PyBuffer_Release,
    PyObject_GetBuffer)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EINTR, errno
from libc.string cimport memchr, memcpy
from secalloc_ext.frame cimport account_is_locked
from secalloc_ext.arguments cimport byte_value, hex_digit, index_size, is_size, slice_length
from secalloc_ext.errors import AllocationError, ForkedError, ProtectedError, WipedError
from secalloc_ext.heap cimport heap_free, heap_lets_in, heap_protect, heap_realloc, heap_unpin, heap_zero
from secalloc_ext.heapobject cimport Heap, allocate, default_heap, raise_error
from secalloc_ext.mapping cimport ACCESS_NONE, ACCESS_READ, ACCESS_READ_WRITE, mapping_random
from secalloc_ext.prim cimport ERROR_NONE, bytes_equal_constant_time, wipe

cdef extern from "<string.h>" nogil:
    void *memmem(const void *haystack, size_t size, const void *needle, size_t needle_size)

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    void PyObject_GC_Track(object o)
    void PyObject_GC_UnTrack(object o)

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void *buffer, size_t size)

cdef enum:
    READ_BYTES = 4096   # first guess for a file of unknown size


cdef SecureBytes securebytes_new(Py_ssize_t size, Heap heap, bint guarded=False):
    cdef SecureBytes self = SecureBytes.__new__(SecureBytes)
    self.heap = heap
    self.data = <unsigned char *>allocate(heap, size, guarded)
    self.size = size
    self.generation = heap.heap.generation
    self.guarded = guarded
    self.access = self.effective = ACCESS_READ_WRITE
    return self


cdef SecureBytes as_guarded(SecureBytes plain):
    """A guarded object with the bytes of `plain`, which is wiped."""
    cdef SecureBytes result = securebytes_new(plain.size, plain.heap, True)
    memcpy(result.data, plain.data, <size_t>plain.size)
    plain.wipe()
    return result


cdef Heap heap_or_default(object heap):
    if heap is None:
        return default_heap()
    if not isinstance(heap, Heap):
        raise TypeError(f"heap must be a secalloc.Heap, not {type(heap).__name__}")
    return <Heap>heap


cdef unsigned char *copy_items(unsigned char *to, const char *items, const Py_buffer *view, int dimension) noexcept:
    """Copy what one dimension holds, in C order, straight to `to`; answers where it ends. PyBuffer_ToContiguous would
    leave each row in ordinary memory as well."""
    cdef Py_ssize_t i
    cdef const char *item
    for i in range(view.shape[dimension]):
        item = items + i * view.strides[dimension]
        if view.suboffsets != NULL and view.suboffsets[dimension] >= 0:
            item = (<const char **>item)[0] + view.suboffsets[dimension]
        if dimension + 1 < view.ndim:
            to = copy_items(to, item, view, dimension + 1)
        else:
            memcpy(to, item, <size_t>view.itemsize)
            to += view.itemsize
    return to


cdef SecureBytes copy_of_buffer(object source, Heap heap):
    """A SecureBytes with the bytes of any object that has a buffer, in C order."""
    cdef Py_buffer view
    cdef SecureBytes result
    PyObject_GetBuffer(source, &view, PyBUF_FULL_RO)
    try:
        result = securebytes_new(view.len, heap)
        if PyBuffer_IsContiguous(&view, b"C"):
            memcpy(result.data, view.buf, <size_t>view.len)
        elif view.len > 0:
            copy_items(result.data, <const char *>view.buf, &view, 0)
    finally:
        PyBuffer_Release(&view)
    return result


@cython.final
@cython.no_gc_clear  # of a cycle, views may be released after it: they need `heap`. Another member breaks the cycle.
cdef class SecureBytes:
    """Bytes on secret pages: of fixed size, writable, wiped when dropped.

    ``SecureBytes(32)``: that many zero bytes. ``SecureBytes(b"...")``: a copy of any bytes-like object.
    ``SecureBytes("text", "utf-8")``: encoded text. See also `random`, `take`, `fromhex` and `from_file`.

    Parameters
    ----------
    source : int, bytes-like or str
    encoding, errors : for str, as in ``bytes``
    heap : the `Heap` to live in; None: the default heap
    guarded : on pages of its own, the last byte against a guard page, with `noaccess`, `readonly`, `readwrite`; costs
        4 KiB or more, and about 25 us the first time

    Raises
    ------
    TypeError, ValueError : as ``bytearray`` does
    MemlockLimitError, HeapLimitError, AllocationError : no secret memory for it (all are MemoryError)
    SecretMemoryUnavailable : the kernel gives none at all

    Notes
    -----
    Equality takes a time that depends on the lengths only. Not hashable, not picklable.
    """

    __hash__ = None

    def __init__(self, source=0, encoding=None, errors=None, *, heap=None, guarded=False):
        cdef SecureBytes made
        cdef Heap where = heap_or_default(heap)
        cdef Py_ssize_t size = 0
        if isinstance(source, str):
            if encoding is None:
                raise TypeError("string argument without an encoding")
            made = encoded(source, encoding, errors or "strict", where)
        elif encoding is not None or errors is not None:
            raise TypeError("encoding or errors without a string argument")
        elif is_size(source, &size):
            made = securebytes_new(size, where, guarded)
        else:
            made = copy_of_buffer(source, where)
        if guarded and not made.guarded:
            made = as_guarded(made)
        if self.data != NULL or self.is_wiped:  # now: making it may have run code that came here as well
            raise TypeError("a SecureBytes is made once")
        self.adopt(made)

    cdef int adopt(self, SecureBytes other) except -1:
        """Take over the slot of another, who is left without one."""
        self.data = other.data
        self.size = other.size
        self.generation = other.generation
        self.heap = other.heap
        self.guarded = other.guarded
        self.access = self.effective = ACCESS_READ_WRITE
        other.data = NULL
        return 0

    def __dealloc__(self):
        heap_free(self.data)

    cdef int check(self) except -1:
        if self.data == NULL or self.is_wiped:
            raise WipedError("the SecureBytes was wiped")
        if self.generation != self.heap.heap.generation:
            raise ForkedError("the SecureBytes belongs to the process that forked this one")
        if account_is_locked(&self.heap.heap.account) and not heap_lets_in(self.heap.heap):
            raise ProtectedError("the heap of the SecureBytes is locked: use `with heap.unlocked():`")
        if self.effective == ACCESS_NONE:
            raise ProtectedError("the SecureBytes is noaccess: use `with key.unlocked():`")
        return 0

    cdef int check_writable(self) except -1:
        self.check()
        if self.effective != ACCESS_READ_WRITE:
            raise ProtectedError("the SecureBytes is readonly: use `with key.unlocked():`")
        return 0

    # --- protection of guarded ones ---

    cdef int settle(self) except -1:
        """Have the pages allow what is wished; what a view of them needs stays allowed."""
        cdef int access = ACCESS_READ_WRITE if self.unlocks > 0 else self.access
        if access == self.effective or self.exports > 0 and access < self.effective or self.data == NULL:
            return 0
        if not heap_protect(self.data, access):
            raise AllocationError("the protection cannot be changed: vm.max_map_count or RLIMIT_DATA is reached")
        self.effective = access
        return 0

    cdef int protect(self, int access) except -1:
        cdef int before = self.access
        if not self.guarded:
            raise TypeError("only a guarded SecureBytes can be protected: SecureBytes(..., guarded=True)")
        if self.data == NULL or self.is_wiped:
            raise WipedError("the SecureBytes was wiped")
        if self.exports > 0 and access < self.effective:
            raise BufferError("a view of the SecureBytes is out: its protection cannot be raised")
        self.access = access
        try:
            return self.settle()
        except AllocationError:
            self.access = before
            raise

    def noaccess(self):
        """Let nobody read or write, until `readonly`, `readwrite` or `unlocked`.

        Use from Python then raises `ProtectedError`, from C it faults. Inside an `unlocked` block it takes effect at
        the block's end.

        Raises
        ------
        TypeError : not guarded
        BufferError : a view is out
        """
        self.protect(ACCESS_NONE)

    def readonly(self):
        """Let nobody write; see `noaccess`."""
        self.protect(ACCESS_READ)

    def readwrite(self):
        """Let everybody in this process read and write, as at first."""
        self.protect(ACCESS_READ_WRITE)

    def unlocked(self):
        """A block in which the object can be read and written; behind it the protection is as it was.

        Blocks nest, and are counted over all threads: the last to end restores it. A view that is still out at the
        end keeps the object open until it is released.
        """
        return Unlocked(self)

    # --- other ways in ---

    @staticmethod
    def random(size, *, heap=None, guarded=False):
        """`size` random bytes, from getrandom(2) straight into secret pages."""
        cdef Heap where = heap_or_default(heap)
        cdef Py_ssize_t count = index_size(size)
        cdef SecureBytes result = securebytes_new(count, where, guarded)
        cdef int error
        PyObject_GC_UnTrack(result)
        with nogil:
            error = mapping_random(result.data, <size_t>result.size)
        PyObject_GC_Track(result)
        if error != ERROR_NONE:
            PyErr_SetFromErrno(OSError)
        return result

    @staticmethod
    def fromhex(digits, *, heap=None):
        """Bytes from pairs of hex digits, in a str or bytes-like; white space between bytes is skipped.

        Raises
        ------
        ValueError : another character, or half a byte; the message does not quote it
        """
        cdef SecureBytes text
        if isinstance(digits, str):
            if not digits.isascii():
                raise ValueError("non-hexadecimal number found in fromhex() arg")
            text = encoded(digits, "ascii", "strict", heap_or_default(heap))
        else:
            text = copy_of_buffer(digits, heap_or_default(heap))
        return decoded_hex(text)

    @staticmethod
    def take(source, *, heap=None):
        """The bytes of a writable buffer (bytearray, array, ...), which is wiped.

        Raises
        ------
        TypeError : `source` has no writable buffer; its bytes could not be wiped
        """
        cdef Py_buffer view
        cdef SecureBytes result
        try:
            PyObject_GetBuffer(source, &view, PyBUF_WRITABLE)
        except (BufferError, ValueError) as error:
            if isinstance(error, WipedError):
                raise
            raise TypeError(f"take() wipes its source, and {type(source).__name__} has no writable buffer") from error
        try:
            result = securebytes_new(view.len, heap_or_default(heap))
            memcpy(result.data, view.buf, <size_t>view.len)
            wipe(view.buf, <size_t>view.len)
        finally:
            PyBuffer_Release(&view)
        return result

    @staticmethod
    def from_file(file, *, heap=None):
        """All bytes of a file, from a path or an open descriptor, by read(2) straight into secret pages.

        A descriptor is read from where it stands to its end, and stays open.

        Raises
        ------
        OSError : as ``open`` and ``read`` do
        """
        cdef Heap where = heap_or_default(heap)
        if isinstance(file, int):
            return read_all(file, where)
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return read_all(fd, where)
        finally:
            os.close(fd)

    # --- as a sequence ---

    def __len__(self):
        self.check()
        return self.size

    def __getitem__(self, key):
        cdef Py_ssize_t start, stop, step, i, count
        cdef SecureBytes result
        if isinstance(key, slice):
            start, stop, step = slice_bounds(self, key)
            count = slice_length(start, stop, step)
            self.check()
            result = securebytes_new(count, self.heap)
            if step == 1:
                memcpy(result.data, self.data + start, <size_t>count)
            else:
                for i in range(count):
                    result.data[i] = self.data[start + i * step]
            return result
        i = position(self, key)
        self.check()
        return self.data[i]

    def __setitem__(self, key, value):
        cdef Py_ssize_t start, stop, step, i, count
        cdef SecureBytes source
        if isinstance(key, slice):
            start, stop, step = slice_bounds(self, key)
            count = slice_length(start, stop, step)
            source = copy_of_buffer(value, self.heap)
            if source.size != count:
                raise ValueError(f"a SecureBytes has a fixed size: {count} bytes cannot become {source.size}")
            self.check_writable()
            for i in range(count):
                self.data[start + i * step] = source.data[i]
            source.wipe()
            return
        byte = byte_value(value)
        i = position(self, key)
        self.check_writable()
        self.data[i] = byte

    def __delitem__(self, key):
        raise TypeError("a SecureBytes has a fixed size: bytes cannot be deleted")

    def __contains__(self, item):
        cdef Py_buffer view
        cdef int byte
        if hasattr(type(item), "__index__"):
            byte = byte_value(item)
            self.check()
            return memchr(self.data, byte, <size_t>self.size) != NULL
        PyObject_GetBuffer(item, &view, PyBUF_SIMPLE)
        try:
            self.check()
            return memmem(self.data, <size_t>self.size, view.buf, <size_t>view.len) != NULL
        finally:
            PyBuffer_Release(&view)

    def __eq__(self, other):
        cdef Py_buffer view
        self.check()
        try:
            PyObject_GetBuffer(other, &view, PyBUF_FULL_RO)
        except (TypeError, BufferError, ValueError) as error:
            if isinstance(error, WipedError):
                raise
            return NotImplemented
        try:
            self.check()  # getting the buffer may have run code that wiped us
            if view.len != self.size:
                return False
            if PyBuffer_IsContiguous(&view, b"C"):
                return bytes_equal_constant_time(self.data, <const unsigned char *>view.buf, <size_t>self.size)
            flat = copy_of_buffer(other, self.heap)
            self.check()
            return bytes_equal_constant_time(self.data, (<SecureBytes>flat).data, <size_t>self.size)
        finally:
            PyBuffer_Release(&view)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        self.check()
        if flags & PyBUF_WRITABLE and self.effective != ACCESS_READ_WRITE:
            raise ProtectedError("the SecureBytes is readonly: no writable view of it can be had")
        PyBuffer_FillInfo(buffer, self, self.data, self.size, self.effective != ACCESS_READ_WRITE, flags)
        self.exports += 1
        self.heap.views += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.exports -= 1
        self.heap.views -= 1
        if self.heap.views == 0 and self.heap.heap.account.pinned:
            heap_unpin(self.heap.heap)
        if self.exports > 0:
            return
        if self.is_wiped:
            self.give_back()
        elif self.effective != (ACCESS_READ_WRITE if self.unlocks > 0 else self.access):
            self.settle()

    def __copy__(self):
        self.check()
        cdef SecureBytes result = securebytes_new(self.size, self.heap)
        memcpy(result.data, self.data, <size_t>self.size)
        return result

    def __deepcopy__(self, memo):
        return self.__copy__()

    def copy(self):
        """A SecureBytes of its own with the same bytes, in the same heap."""
        return self.__copy__()

    # --- its end ---

    cdef int give_back(self) except -1:
        heap_free(self.data)
        self.data = NULL
        return 0

    def wipe(self):
        """Zero the bytes at once, views of them included. Wiping again zeroes what was written through a view since.

        The slot is given back when the last view (memoryview, array) is gone. In a forked child there is nothing to
        wipe, and nothing happens.
        """
        if self.data == NULL:
            return
        if self.generation == self.heap.heap.generation:
            heap_zero(self.data)
        self.is_wiped = True
        if self.exports == 0:
            self.give_back()

    def __enter__(self):
        self.check()
        return self

    def __exit__(self, *exception):
        self.wipe()

    # --- about it ---

    @property
    def wiped(self):
        """Whether `wipe` was called."""
        return self.is_wiped

    @property
    def backend(self):
        """"secretmem" or "mlock": what holds the bytes."""
        return self.heap.backend

    def __repr__(self):
        if self.is_wiped:
            return "<SecureBytes wiped>"
        return f"<SecureBytes {self.size} bytes>"

    def __reduce_ex__(self, protocol):
        raise TypeError("a SecureBytes is not pickled, as the pickle would be an ordinary copy; see secalloc.sharing")

    def __sizeof__(self):
        """Bytes of the object and of its secret bytes, without the slot's slack."""
        return object.__sizeof__(self) + self.size


@cython.final
@cython.no_gc_clear  # as SecureBytes
cdef class Unlocked:
    """What `SecureBytes.unlocked` answers."""
    cdef SecureBytes target

    def __cinit__(self, SecureBytes target not None):
        self.target = target

    def __reduce__(self):
        raise TypeError("an unlocked block cannot be pickled")

    def __enter__(self):
        cdef SecureBytes target = self.target
        if not target.guarded:
            raise TypeError("only a guarded SecureBytes can be unlocked: SecureBytes(..., guarded=True)")
        if target.data == NULL or target.is_wiped:
            raise WipedError("the SecureBytes was wiped")
        target.unlocks += 1
        try:
            target.settle()
        except AllocationError:
            target.unlocks -= 1
            raise
        return target

    def __exit__(self, *exception):
        self.target.unlocks -= 1
        if not self.target.is_wiped:
            self.target.settle()


cdef Py_ssize_t position(SecureBytes self, object key) except -1:
    """The index that `key` names, from the end if negative."""
    if not hasattr(type(key), "__index__"):
        raise TypeError(f"SecureBytes indices must be integers or slices, not {type(key).__name__}")
    cdef Py_ssize_t i
    try:
        i = key
    except OverflowError as error:
        raise IndexError("cannot fit the index into an index-sized integer") from error
    self.check()
    if i < 0:
        i += self.size
    if not 0 <= i < self.size:
        raise IndexError("SecureBytes index out of range")
    return i


cdef tuple slice_bounds(SecureBytes self, slice key):
    """start, stop, step within the present size. Runs the __index__ of the slice's parts."""
    self.check()
    return key.indices(self.size)


cdef SecureBytes encoded(str text, encoding, errors, Heap heap):
    """Encode into secret pages; the codec's own result is wiped, unless it is one of CPython's shared objects."""
    cdef bytes plain = text.encode(encoding, errors)
    cdef SecureBytes result = copy_of_buffer(plain, heap)
    if PyBytes_GET_SIZE(plain) > 1:
        wipe(PyBytes_AS_STRING(plain), <size_t>PyBytes_GET_SIZE(plain))
    return result


cdef SecureBytes decoded_hex(SecureBytes text):
    """The bytes that `text` spells; `text` is wiped."""
    cdef SecureBytes result = securebytes_new(text.size >> 1, text.heap)
    cdef Py_ssize_t i = 0, count = 0
    cdef int high, low
    while i < text.size:
        if text.data[i] in b" \t\n\r\v\f":
            i += 1
            continue
        high = hex_digit(text.data[i])
        low = hex_digit(text.data[i + 1]) if i + 1 < text.size else -1
        if high < 0 or low < 0:
            raise ValueError(f"non-hexadecimal number found in fromhex() arg at position {i if high < 0 else i + 1}")
        result.data[count] = <unsigned char>(high << 4 | low)
        count += 1
        i += 2
    text.wipe()
    return result if count == result.size else result[:count]


cdef SecureBytes read_all(int fd, Heap heap):
    """Read to the end of a file of any kind. The buffer grows on secret pages, its old block wiped."""
    cdef Py_ssize_t expected = max(os.fstat(fd).st_size, 0)
    cdef Py_ssize_t count = 0
    cdef ssize_t got = 1
    cdef void *grown
    # One byte more than expected, so that the read that finds the end needs no growth.
    cdef SecureBytes result = securebytes_new(min(expected, PY_SSIZE_T_MAX - 1) + 1 if expected else READ_BYTES, heap)
    PyObject_GC_UnTrack(result)
    while got > 0:
        if count == result.size:
            grown = heap_realloc(heap.get(), result.data, <size_t>result.size * 2, False)
            if grown == NULL:
                raise_error(heap.get(), result.size * 2)
            result.data = <unsigned char *>grown
            result.size *= 2
        with nogil:
            got = read(fd, result.data + count, <size_t>(result.size - count))
        if got < 0:
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()
            got = 1
            continue
        count += got
    grown = heap_realloc(heap.get(), result.data, <size_t>count, False)
    if grown == NULL:
        raise_error(heap.get(), count)
    result.data = <unsigned char *>grown
    result.size = count
    PyObject_GC_Track(result)
    return result
