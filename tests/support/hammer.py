"""hammer.c from Python."""
import ctypes
from ctypes import c_int, c_long, c_uint64, c_void_p

from support import capi

NAMES = ("malloc", "realloc", "free", "usable_size", "aligned_alloc", "guarded_alloc", "protect")


class Functions(ctypes.Structure):
    _fields_ = [(name, c_void_p) for name in NAMES]


class Plan(ctypes.Structure):
    _fields_ = [
        ("threads", c_int), ("lives", c_int), ("rounds", c_long), ("small", c_int), ("forks", c_int),
        ("copies", c_int), ("seed", c_uint64), ("operations", c_long),
    ]  # fmt: skip


def load(library):
    """``hammer(functions, plan)`` of the compiled file: the number of contracts broken; the plan has the rest."""
    function = ctypes.CDLL(str(library)).hammer
    function.argtypes = [ctypes.POINTER(Functions), ctypes.POINTER(Plan)]
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
    return Functions(*(others[name] if name in others else capi.address(name) for name in NAMES))
