"""The public C API as ctypes functions, reached as a C program would reach it: through the capsules.

CFUNCTYPE drops the GIL around each call, as the functions are declared nogil. Pointers are ints, NULL is None.
"""
import ctypes
from ctypes import CFUNCTYPE, c_char_p, c_int, c_size_t, c_void_p

from secalloc_ext import api

SIGNATURES = {
    "malloc": (c_void_p, c_size_t),
    "calloc": (c_void_p, c_size_t, c_size_t),
    "realloc": (c_void_p, c_void_p, c_size_t),
    "free": (None, c_void_p),
    "usable_size": (c_size_t, c_void_p),
    "owns": (c_int, c_void_p),
    "aligned_alloc": (c_void_p, c_size_t, c_size_t),
    "guarded_alloc": (c_void_p, c_size_t),
    "protect": (c_int, c_void_p, c_int),
}

SIZE_MAX = 2**64 - 1
NOACCESS, READONLY, READWRITE = range(3)

_name_of = ctypes.pythonapi.PyCapsule_GetName
_name_of.restype = c_char_p
_name_of.argtypes = [ctypes.py_object]
_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = c_void_p
_pointer_of.argtypes = [ctypes.py_object, c_char_p]


def signature(name):
    """The C signature that the capsule of ``secalloc_<name>`` states."""
    return _name_of(api.__pyx_capi__["secalloc_" + name]).decode()


def address(name):
    """Where ``secalloc_<name>`` begins."""
    capsule = api.__pyx_capi__["secalloc_" + name]
    return _pointer_of(capsule, _name_of(capsule))


def function(name):
    return CFUNCTYPE(*SIGNATURES[name], use_errno=True)(address(name))


malloc, calloc, realloc = function("malloc"), function("calloc"), function("realloc")
free, usable_size, owns = function("free"), function("usable_size"), function("owns")
aligned_alloc, guarded_alloc, protect = function("aligned_alloc"), function("guarded_alloc"), function("protect")


def errno_of(call, *arguments):
    """Make a call that fails with NULL and answer its errno."""
    ctypes.set_errno(0)
    assert call(*arguments) is None
    return ctypes.get_errno()


def read(pointer, size):
    return ctypes.string_at(pointer, size)


def write(pointer, data):
    ctypes.memmove(pointer, data, len(data))


def spoil(pointer):
    """Change a byte, whatever it is: a canary's may be any."""
    write(pointer, bytes([read(pointer, 1)[0] ^ 1]))


def address_of(key):
    """Where the bytes of a SecureBytes lie. Not for an empty one."""
    return ctypes.addressof(ctypes.c_char.from_buffer(key))
