# cython: language_level=3
"""Layer 4: SecureBytes, a bytearray of fixed size on secret pages.

The object's header is an ordinary Python object without secret content; `data` is the slot. Where a method makes
secret bytes of secret bytes, the result is a SecureBytes in the same heap.

Thread safety: as bytearray's, each operation is atomic under the GIL.
"""
cimport cython
from cpython.buffer cimport (
    PyBUF_FULL_RO, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_CheckBuffer,
    PyObject_GetBuffer)
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_CheckExact, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.number cimport PyIndex_Check, PyNumber_AsSsize_t
from cpython.object cimport PyObject
from cpython.slice cimport PySlice_AdjustIndices
from libc.string cimport memcpy
from secalloc_ext.arguments cimport byte_value, index_size, is_plain_int, is_size, size_product, size_sum, slice_parts
from secalloc_ext.errors import AllocationError, ForkedError, ProtectedError, WipedError
from secalloc_ext.frame cimport account_is_locked
from secalloc_ext.heap cimport heap_free, heap_lets_in, heap_protect, heap_zero
from secalloc_ext.heapobject cimport Heap, default_heap, view_begin, view_end
from secalloc_ext.mapping cimport ACCESS_NONE, ACCESS_READ, ACCESS_READ_WRITE
from secalloc_ext.needle cimport find_first, needle_close, needle_of_byte, needle_open, needle_t
from secalloc_ext.prim cimport bytes_equal_constant_time
from secalloc_ext.sources cimport (
    filled_t, source_buffer, source_hex, source_random, source_taken, source_text, source_zeros)

cdef extern from "residue.h" nogil:
    void residue_clear_vectors() noexcept

cdef extern from "Python.h":
    const size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    ctypedef object (*vectorcallfunc)(PyObject *called, PyObject *const *arguments, size_t count, PyObject *names)
    ctypedef struct PySequenceMethods:
        object (*sq_item)(PyObject *self, Py_ssize_t i)
    ctypedef struct type_t "PyTypeObject":
        PyObject *tp_dict
        vectorcallfunc tp_vectorcall
        PySequenceMethods *tp_as_sequence
    void PyType_Modified(type_t *type)
    object PySeqIter_New(object sequence)

cdef Heap the_default = default_heap()
cdef str NO_ORDER = "a SecureBytes has no order: how long it takes to tell which is less would tell of the bytes"


cdef inline void hold(SecureBytes self, const filled_t *slot, Heap heap, bint guarded) noexcept:
    """Take over a slot. `self` has none."""
    self.heap = heap
    self.data = slot.data
    self.size = slot.size
    self.generation = slot.generation
    self.guarded = guarded
    self.access = self.effective = ACCESS_READ_WRITE


cdef inline int make(SecureBytes blank, Py_ssize_t size, Heap heap) except -1:
    cdef filled_t slot
    source_zeros(&slot, size, heap, False)
    hold(blank, &slot, heap, False)
    return 0


cdef int securebytes_make(SecureBytes blank, Py_ssize_t size, Heap heap) except -1:
    return make(blank, size, heap)


cdef SecureBytes securebytes_new(Py_ssize_t size, Heap heap):
    cdef SecureBytes self = SecureBytes.__new__(SecureBytes)
    make(self, size, heap)
    return self


cdef SecureBytes securebytes_part(SecureBytes self, Py_ssize_t start, Py_ssize_t count):
    cdef SecureBytes part = securebytes_new(count, self.heap)
    securebytes_check(self)
    memcpy(part.data, self.data + start, <size_t>count)
    return part


cdef SecureBytes securebytes_of(filled_t *slot, Heap heap, bint guarded):
    cdef SecureBytes self
    try:
        self = SecureBytes.__new__(SecureBytes)
    except MemoryError:
        heap_free(slot.data)
        raise
    hold(self, slot, heap, guarded)
    residue_clear_vectors()  # it was copied through them, and the first call of a library's function may save them
    return self


cdef Heap heap_or_default(object heap):
    if heap is None:
        return the_default
    if not isinstance(heap, Heap):
        raise TypeError(f"heap must be a secalloc.Heap, not {type(heap).__name__}")
    return <Heap>heap


@cython.final
@cython.freelist(64)  # headers, without a slot
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

    Examples
    --------
    >>> line = SecureBytes(b"me:hunter2")
    >>> name, _, password = line.partition(b":")
    >>> password
    <SecureBytes 7 bytes>
    >>> password == b"hunter2", len(password), password.find(b"2")
    (True, 7, 6)
    >>> with password:
    ...     proof = bytes(password.hex())
    >>> proof, password.wiped
    (b'68756e74657232', True)
    """

    __hash__ = None

    def __init__(self, source=0, encoding=None, errors=None, *, heap=None, bint guarded=False):
        cdef filled_t slot
        cdef Heap where = heap_or_default(heap)
        cdef Py_ssize_t size = 0
        if isinstance(source, str):
            if encoding is None:
                raise TypeError("string argument without an encoding")
            source_text(&slot, source, encoding, errors or "strict", where, guarded)
        elif encoding is not None or errors is not None:
            raise TypeError("encoding or errors without a string argument")
        elif is_size(source, &size):
            source_zeros(&slot, size, where, guarded)
        else:
            source_buffer(&slot, source, where, guarded)
        if self.data != NULL or self.is_wiped:  # now: filling it may have run code that came here as well
            heap_free(slot.data)
            raise TypeError("a SecureBytes is made once")
        hold(self, &slot, where, guarded)

    def __dealloc__(self):
        heap_free(self.data)

    # --- other ways in ---

    @staticmethod
    def random(size, *, heap=None, bint guarded=False):
        """`size` random bytes, from getrandom(2) straight into secret pages."""
        cdef filled_t slot
        cdef Heap where = heap_or_default(heap)
        source_random(&slot, index_size(size), where, guarded)
        return securebytes_of(&slot, where, guarded)

    @staticmethod
    def fromhex(digits, *, heap=None):
        """Bytes from pairs of hex digits, in a str or bytes-like; white space between bytes is skipped.

        Raises
        ------
        ValueError : another character, or half a byte; the message does not quote it
        """
        cdef filled_t slot
        cdef Heap where = heap_or_default(heap)
        source_hex(&slot, digits, where)
        return securebytes_of(&slot, where, False)

    @staticmethod
    def take(source, *, heap=None):
        """The bytes of a writable buffer (bytearray, array, ...), which is wiped.

        Raises
        ------
        TypeError : `source` has no writable buffer; its bytes could not be wiped
        """
        cdef filled_t slot
        cdef Heap where = heap_or_default(heap)
        source_taken(&slot, source, where)
        return securebytes_of(&slot, where, False)

    # --- as a sequence ---

    def __len__(self):
        securebytes_check(self)
        return self.size

    def __getitem__(self, key):
        cdef Py_ssize_t start, step, i, count
        cdef SecureBytes result
        if not isinstance(key, slice):
            return self.data[position(self, key)]
        count = slice_bounds(self, key, &start, &step)
        result = securebytes_new(count, self.heap)
        securebytes_check(self)
        if step == 1:
            memcpy(result.data, self.data + start, <size_t>count)
        else:
            for i in range(count):
                result.data[i] = self.data[start + i * step]
        return result

    def __iter__(self):
        securebytes_check(self)
        return PySeqIter_New(self)

    def __setitem__(self, key, value):
        cdef Py_ssize_t start, step, i, count
        cdef filled_t source
        if not isinstance(key, slice):
            byte = byte_value(value)
            i = position(self, key)
            securebytes_check_writable(self)
            self.data[i] = byte
            return
        count = slice_bounds(self, key, &start, &step)
        source_buffer(&source, value, self.heap, False)
        try:
            if source.size != count:
                raise ValueError(f"a SecureBytes has a fixed size: {count} bytes cannot become {source.size}")
            securebytes_check_writable(self)
            for i in range(count):
                self.data[start + i * step] = source.data[i]
        finally:
            heap_free(source.data)

    def __delitem__(self, key):
        raise TypeError("a SecureBytes has a fixed size: bytes cannot be deleted")

    def __contains__(self, item):
        cdef needle_t needle
        if PyIndex_Check(item):
            needle_of_byte(&needle, item)
        else:
            needle_open(&needle, item)
        try:
            securebytes_check(self)
            return find_first(self.data, self.size, &needle) >= 0
        finally:
            needle_close(&needle)

    def __add__(self, other):
        return concatenated(self, other, False)

    def __radd__(self, other):
        """What stands on the left is bytes or a bytearray, as they would make an ordinary copy."""
        return concatenated(self, other, True) if isinstance(other, (bytes, bytearray)) else NotImplemented

    def __mul__(self, count):
        return repeated(self, count)

    def __rmul__(self, count):
        return repeated(self, count)

    def __eq__(self, other):
        cdef Py_buffer view
        cdef filled_t flat
        securebytes_check(self)
        try:
            PyObject_GetBuffer(other, &view, PyBUF_FULL_RO)
        except (TypeError, BufferError, ValueError) as error:
            if isinstance(error, WipedError):
                raise
            return NotImplemented
        try:
            securebytes_check(self)  # getting the buffer may have run code that wiped us
            if view.len != self.size:
                return False
            if PyBuffer_IsContiguous(&view, b"C"):
                return bytes_equal_constant_time(self.data, <const unsigned char *>view.buf, <size_t>self.size)
            source_buffer(&flat, other, self.heap, False)
            try:
                securebytes_check(self)
                return bytes_equal_constant_time(self.data, flat.data, <size_t>self.size)
            finally:
                heap_free(flat.data)
        finally:
            PyBuffer_Release(&view)

    def __lt__(self, other):
        raise TypeError(NO_ORDER)

    def __le__(self, other):
        raise TypeError(NO_ORDER)

    def __gt__(self, other):
        raise TypeError(NO_ORDER)

    def __ge__(self, other):
        raise TypeError(NO_ORDER)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        securebytes_check(self)
        if flags & PyBUF_WRITABLE and self.effective != ACCESS_READ_WRITE:
            raise ProtectedError(f"the SecureBytes is {protection(self)}: no writable view of it can be had")
        PyBuffer_FillInfo(buffer, self, self.data, self.size, self.effective != ACCESS_READ_WRITE, flags)
        self.exports += 1
        view_begin(self.heap)

    def __releasebuffer__(self, Py_buffer *buffer):
        self.exports -= 1
        view_end(self.heap)
        if self.exports > 0:
            return
        if self.is_wiped:
            give_back(self)
        elif self.effective != wished(self):
            securebytes_settle(self)

    def __copy__(self):
        securebytes_check(self)
        return securebytes_part(self, 0, self.size)

    def __deepcopy__(self, memo):
        return self.__copy__()

    def copy(self):
        """A SecureBytes of its own with the same bytes, in the same heap."""
        return self.__copy__()

    # --- its end ---

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
            give_back(self)

    def __enter__(self):
        securebytes_check(self)
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


# --- whether it may be used ---

cdef int securebytes_refuse(SecureBytes self) except -1:
    """Say why it cannot be read; 0 where it can, by this thread."""
    if self.data == NULL or self.is_wiped:
        raise WipedError("the SecureBytes was wiped")
    if self.generation != self.heap.heap.generation:
        raise ForkedError("the SecureBytes belongs to the process that forked this one")
    if account_is_locked(&self.heap.heap.account) and not heap_lets_in(self.heap.heap):
        raise ProtectedError("the heap of the SecureBytes is locked: use `with heap.unlocked():`")
    if self.effective == ACCESS_NONE:
        raise ProtectedError("the SecureBytes is noaccess: use `with key.unlocked():`")
    return 0


cdef int securebytes_check_writable(SecureBytes self) except -1:
    securebytes_check(self)
    if self.effective != ACCESS_READ_WRITE:
        raise ProtectedError(f"the SecureBytes is {protection(self)}")
    return 0


cdef str protection(SecureBytes self):
    return "frozen" if self.frozen else "readonly: use `with key.unlocked():`"


cdef inline int wished(SecureBytes self) noexcept:
    """The access_t that it is to have; what a view needs is beside that."""
    if self.unlocks > 0:
        return ACCESS_READ if self.frozen else ACCESS_READ_WRITE
    return self.access


cdef int securebytes_settle(SecureBytes self) except -1:
    cdef int access = wished(self)
    if access == self.effective or self.exports > 0 and access < self.effective or self.data == NULL:
        return 0
    if not heap_protect(self.data, access):
        raise AllocationError("the protection cannot be changed: vm.max_map_count or RLIMIT_DATA is reached")
    self.effective = <unsigned char>access
    return 0


cdef int give_back(SecureBytes self) except -1:
    heap_free(self.data)
    self.data = NULL
    return 0


# --- places in it ---

cdef inline Py_ssize_t position(SecureBytes self, object key) except -1:
    """The index that `key` names, from the end if negative, in an object that may be read."""
    cdef Py_ssize_t i
    if not is_plain_int(key, &i):
        if not PyIndex_Check(key):
            raise TypeError(f"SecureBytes indices must be integers or slices, not {type(key).__name__}")
        i = PyNumber_AsSsize_t(key, IndexError)
    securebytes_check(self)
    if i < 0:
        i += self.size
    if not 0 <= i < self.size:
        raise IndexError("SecureBytes index out of range")
    return i


cdef Py_ssize_t slice_bounds(SecureBytes self, object key, Py_ssize_t *start, Py_ssize_t *step) except -1:
    """How many bytes a slice has, from `start` on, each `step` further. Runs the __index__ of the slice's parts, which
    may wipe `self`."""
    cdef Py_ssize_t stop
    securebytes_check(self)
    slice_parts(key, start, &stop, step)
    if step[0] == 1 and 0 <= start[0] <= stop <= self.size:
        return stop - start[0]
    return PySlice_AdjustIndices(self.size, start, &stop, step[0])


# --- more of it ---

cdef object concatenated(SecureBytes self, object other, bint is_behind):
    """Both, `self` first or behind; NotImplemented where `other` has no bytes."""
    cdef needle_t needle
    cdef SecureBytes made
    if not PyObject_CheckBuffer(other):
        return NotImplemented
    try:
        needle_open(&needle, other)
    except BufferError as error:
        raise TypeError(f"can't concat {type(other).__name__} to SecureBytes") from error
    try:
        made = SecureBytes.__new__(SecureBytes)
        securebytes_check(self)
        securebytes_make(made, size_sum(self.size, needle.size), self.heap)
        memcpy(made.data + (needle.size if is_behind else 0), self.data, <size_t>self.size)
        memcpy(made.data + (0 if is_behind else self.size), needle.data, <size_t>needle.size)
        return made
    finally:
        needle_close(&needle)


cdef object repeated(SecureBytes self, object count):
    cdef Py_ssize_t times, size, done
    cdef SecureBytes made
    if not PyIndex_Check(count):
        return NotImplemented
    times = max(PyNumber_AsSsize_t(count, OverflowError), 0)
    made = SecureBytes.__new__(SecureBytes)
    securebytes_check(self)
    size = size_product(self.size, times)
    securebytes_make(made, size, self.heap)
    done = min(self.size, size)
    memcpy(made.data, self.data, <size_t>done)
    while done < size:  # twice as many each time
        times = min(done, size - done)
        memcpy(made.data + done, made.data, <size_t>times)
        done += times
    return made


# --- the call of the type ---

cdef object securebytes_call(PyObject *called, PyObject *const *arguments, size_t count, PyObject *names):
    """`SecureBytes(x)` of an int, bytes or bytearray, without all that a call may come with. The rest, errors included,
    is for `__init__`."""
    cdef SecureBytes made
    cdef object source
    cdef filled_t slot
    cdef const char *content = NULL
    cdef Py_ssize_t size
    if count & ~PY_VECTORCALL_ARGUMENTS_OFFSET != 1 or names != NULL:
        return call_otherwise(called, arguments, count, names)
    source = <object>arguments[0]
    made = SecureBytes.__new__(SecureBytes)  # first, as finalizers may run here, and change a bytearray
    if is_plain_int(source, &size):
        pass
    elif PyBytes_CheckExact(source):
        content = PyBytes_AS_STRING(source)
        size = PyBytes_GET_SIZE(source)
    elif PyByteArray_CheckExact(source):
        content = PyByteArray_AS_STRING(source)
        size = PyByteArray_GET_SIZE(source)
    else:
        size = -1
    if size < 0:
        return call_otherwise(called, arguments, count, names)
    source_zeros(&slot, size, the_default, False)
    hold(made, &slot, the_default, False)
    if content != NULL:
        memcpy(slot.data, content, <size_t>size)
    return made


cdef object securebytes_item(PyObject *self, Py_ssize_t i):
    """What iteration asks for. A negative index has been counted from the end already."""
    cdef SecureBytes key = <SecureBytes>self
    securebytes_check(key)
    if not 0 <= i < key.size:
        raise IndexError("SecureBytes index out of range")
    return key.data[i]


cdef type_t *own_type = <type_t *><PyObject *>SecureBytes
cdef vectorcallfunc call_otherwise = own_type.tp_vectorcall  # Cython's, from 3.3 on
if call_otherwise != NULL:
    own_type.tp_vectorcall = securebytes_call
own_type.tp_as_sequence.sq_item = securebytes_item


cdef int securebytes_add_methods(tuple methods) except -1:
    for method in methods:
        function = method.__func__ if isinstance(method, staticmethod) else method
        function.__qualname__ = f"SecureBytes.{function.__name__}"
        (<dict>own_type.tp_dict)[function.__name__] = method
    PyType_Modified(own_type)
    return 0
