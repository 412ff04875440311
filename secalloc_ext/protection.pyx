# cython: language_level=3
"""Layer 4: who may read and write a SecureBytes: protection of guarded ones, and freezing of any."""
cimport cython
from secalloc_ext.errors import AllocationError, ProtectedError, WipedError
from secalloc_ext.mapping cimport ACCESS_NONE, ACCESS_READ, ACCESS_READ_WRITE
from secalloc_ext.securebytes cimport SecureBytes, securebytes_add_methods, securebytes_check, securebytes_settle


def noaccess(SecureBytes self not None):
    """Let nobody read or write, until `readonly`, `readwrite` or `unlocked`.

    Use from Python then raises `ProtectedError`, from C it faults. Inside an `unlocked` block it takes effect at
    the block's end.

    Raises
    ------
    TypeError : not guarded
    BufferError : a view is out
    """
    protect(self, ACCESS_NONE)


def readonly(SecureBytes self not None):
    """Let nobody write; see `noaccess`."""
    protect(self, ACCESS_READ)


def readwrite(SecureBytes self not None):
    """Let everybody in this process read and write, as at first; one that is frozen raises ProtectedError."""
    protect(self, ACCESS_READ_WRITE)


def unlocked(SecureBytes self not None):
    """A block in which the object can be read and, unless frozen, written; behind it the protection is as it was.

    Blocks nest, and are counted over all threads: the last to end restores it. A view that is still out at the
    end keeps the object open until it is released.
    """
    return Unlocked(self)


def freeze(SecureBytes self not None):
    """Let nobody write any more, from now on and for good: no items are set, and views are read-only.

    It can still be wiped, by `wipe` and by its heap. Copies and slices of it are not frozen. The pages of one that is
    not guarded stay writable to code that ignores the rules of buffers.

    Raises
    ------
    BufferError : a view is out, through which could be written
    """
    securebytes_check(self)
    if self.frozen:
        return
    refuse_views(self, ACCESS_READ)
    self.frozen = True
    if self.guarded:
        try:
            protect(self, min(self.access, ACCESS_READ))
        except AllocationError:
            self.frozen = False
            raise
    else:
        self.access = self.effective = ACCESS_READ


cdef int refuse_views(SecureBytes self, int access) except -1:
    if self.exports > 0 and access < self.effective:
        raise BufferError("a view of the SecureBytes is out: its protection cannot be raised")
    return 0


cdef int protect(SecureBytes self, int access) except -1:
    cdef unsigned char before = self.access
    if not self.guarded:
        raise TypeError("only a guarded SecureBytes can be protected: SecureBytes(..., guarded=True)")
    if self.data == NULL or self.is_wiped:
        raise WipedError("the SecureBytes was wiped")
    if self.frozen and access == ACCESS_READ_WRITE:
        raise ProtectedError("the SecureBytes is frozen")
    refuse_views(self, access)
    self.access = <unsigned char>access
    try:
        return securebytes_settle(self)
    except AllocationError:
        self.access = before
        raise


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
            securebytes_settle(target)
        except AllocationError:
            target.unlocks -= 1
            raise
        return target

    def __exit__(self, *exception):
        self.target.unlocks -= 1
        if not self.target.is_wiped:
            securebytes_settle(self.target)


securebytes_add_methods((noaccess, readonly, readwrite, unlocked, freeze))
