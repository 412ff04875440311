"""endure.c from Python."""
import ctypes

from support import capi

NAMES = ("malloc", "calloc", "realloc", "aligned_alloc", "guarded_alloc", "protect", "free", "usable_size")


def load(library):
    """``endure(operations, leak, seed)`` on the default heap: the contracts broken."""
    function = ctypes.CDLL(str(library)).endure
    function.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_long, ctypes.c_uint64]
    function.restype = ctypes.c_long
    functions = (ctypes.c_void_p * len(NAMES))(*map(capi.address, NAMES))
    return lambda operations, leak, seed: function(functions, operations, leak, seed)
