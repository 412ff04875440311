"""hammer.c from Python."""
import ctypes

from support import capi

NAMES = ("malloc", "realloc", "free", "usable_size")


class Functions(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in NAMES]


def load(library):
    """``hammer(functions, threads, generations, rounds, seed)`` of the compiled file: the contracts broken."""
    function = ctypes.CDLL(str(library)).hammer
    function.argtypes = [ctypes.POINTER(Functions), ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_uint64]
    function.restype = ctypes.c_long
    return function


def load_churn(library):
    """``churn(functions, objects, count, size, rounds)`` of the same file."""
    function = ctypes.CDLL(str(library)).churn
    function.argtypes = [ctypes.POINTER(Functions), ctypes.c_void_p, ctypes.c_long, ctypes.c_size_t, ctypes.c_long]
    function.restype = None
    return function


def functions(**others):
    """The C API's functions, or others in their places, by address."""
    return Functions(*(others.get(name) or capi.address(name) for name in NAMES))
