# cython: language_level=3
"""Layer 4: SecureBytes.reveal and reveal_str, for consumers that take nothing but a true bytes or str."""


from libc.string cimport memcpy
from secalloc_ext.revealcodecs cimport (
    CODEC_UTF8, ERRORS_STRICT, revealcodecs_codec, revealcodecs_decode, revealcodecs_errors)
from secalloc_ext.prim cimport unlikely
from secalloc_ext.revealedbytes cimport revealedbytes_is_known, revealedbytes_new, revealedbytes_ready
from secalloc_ext.revealedstr cimport revealedstr_is_known, revealedstr_ready
from secalloc_ext.securebytes cimport SecureBytes, securebytes_add_methods, securebytes_check


def reveal(SecureBytes self not None):
    """The bytes as a true `bytes` object, whose payload is on secret pages of the same heap, wiped when it is dropped.

    Raises
    ------
    MemlockLimitError, HeapLimitError, AllocationError : as a new SecureBytes; each needs 4 KiB at least
    WipedError, ForkedError, ProtectedError : as any use
    NotImplementedError : this interpreter's objects are not known, or it is free-threaded

    Notes
    -----
    It is a copy: `wipe` of the SecureBytes leaves it. Its methods have revealed results; what C code copies is ordinary
    memory. While it lives, its heap cannot be locked. In a forked child it raises `ForkedError`.
    """
    cdef unsigned char *payload = NULL
    if unlikely(not revealedbytes_is_known):
        revealedbytes_ready(self.heap)
    securebytes_check(self)
    made = revealedbytes_new(self.heap, self.size, &payload)
    memcpy(payload, self.data, <size_t>self.size)
    return made


def reveal_str(SecureBytes self not None, encoding="utf-8", errors="strict"):
    """The bytes decoded to a true `str` object, whose characters are on secret pages; see `reveal`.

    Parameters
    ----------
    encoding : utf-8, ascii or latin-1, by any name that Python knows for it
    errors : "strict", "ignore", "replace" or "surrogateescape"

    Raises
    ------
    UnicodeDecodeError : it has a byte's place, and no text
    LookupError : another codec, or another handler of errors, would leave the text in ordinary memory
    """
    cdef int codec = CODEC_UTF8 if encoding is "utf-8" else revealcodecs_codec(encoding)
    cdef int on_error = ERRORS_STRICT if errors is "strict" else revealcodecs_errors(errors)
    if unlikely(not revealedstr_is_known):
        revealedstr_ready(self.heap)
    securebytes_check(self)
    return revealcodecs_decode(self.heap, self.data, self.size, codec, on_error)


securebytes_add_methods((reveal, reveal_str))
