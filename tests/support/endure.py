"""endure.c from Python."""
import ctypes
import shlex
import subprocess
import sysconfig
from pathlib import Path

from support import capi

SOURCE = Path(__file__).with_suffix(".c")
NAMES = ("malloc", "calloc", "realloc", "aligned_alloc", "guarded_alloc", "protect", "free", "usable_size")


def build(folder):
    """Compile it into a folder; answers the library."""
    library = Path(folder) / "endure.so"
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    subprocess.run([*compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    return library


def load(library):
    """``endure(operations, leak, seed)`` on the default heap: the contracts broken."""
    function = ctypes.CDLL(str(library)).endure
    function.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_long, ctypes.c_uint64]
    function.restype = ctypes.c_long
    functions = (ctypes.c_void_p * len(NAMES))(*map(capi.address, NAMES))
    return lambda operations, leak, seed: function(functions, operations, leak, seed)
