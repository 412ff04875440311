"""hammer.c from Python."""
import ctypes
import os
import shlex
import subprocess
import sysconfig
from ctypes import c_int, c_long, c_uint64, c_void_p
from pathlib import Path

from support import capi

SOURCE = Path(__file__).with_name("hammer.c")
NAMES = ("malloc", "realloc", "free", "usable_size", "aligned_alloc", "guarded_alloc", "protect")


class Functions(ctypes.Structure):
    _fields_ = [(name, c_void_p) for name in NAMES]


class Plan(ctypes.Structure):
    _fields_ = [
        ("threads", c_int), ("lives", c_int), ("rounds", c_long), ("small", c_int), ("forks", c_int),
        ("copies", c_int), ("seed", c_uint64), ("operations", c_long),
    ]  # fmt: skip


def build(folder, *options):
    """Compile hammer.c, with CFLAGS as the core was compiled with; answers the library's path."""
    path = Path(folder) / "hammer.so"
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    flags = ["-O2", "-g", "-Wall", "-Wextra", "-Werror", *shlex.split(os.environ.get("CFLAGS", "")), *options]
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # of a sanitizer
    subprocess.run([*compiler, *flags, "-shared", "-fPIC", "-pthread", "-o", path, SOURCE], env=environment, check=True)
    return path


def load(library):
    """``hammer(functions, plan)`` of the compiled file: the number of contracts broken; the plan has the rest."""
    function = ctypes.CDLL(str(library)).hammer
    function.argtypes = [ctypes.POINTER(Functions), ctypes.POINTER(Plan)]
    function.restype = ctypes.c_long
    return function


def functions(**others):
    """The C API's functions, or others in their places, by address."""
    return Functions(*(others[name] if name in others else capi.address(name) for name in NAMES))
