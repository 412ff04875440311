"""faults.c from Python, in a process that has it preloaded: the n-th of secalloc's own calls of a function fails."""
import ctypes
from itertools import count as numbers
from itertools import takewhile

import secalloc_ext.api
import secalloc_ext.nep49
import secalloc_ext.securebytes  # noqa: F401
from support import maps

FOREVER = 1 << 40

_library = ctypes.CDLL(None)
_library.faults_watch.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
_library.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_int]
_library.faults_name.restype = ctypes.c_char_p
_library.faults_count.restype = _library.faults_injected.restype = ctypes.c_long

for _mapping in maps.mappings():
    if _mapping.access.startswith("r-x") and "/secalloc_ext/" in _mapping.name:
        _library.faults_watch(_mapping.start, _mapping.end)

CALLS = [name.decode() for name in takewhile(bool, map(_library.faults_name, numbers()))]


def arm(call, first, code, last=None):
    """Let calls number `first` to `last` (just the first, if None) since `disarm` fail with an errno."""
    _library.faults_arm(call.encode(), first, last or first, code)


def disarm():
    """Let nothing fail any more, and count from 0."""
    _library.faults_disarm()


def count(call):
    """How often secalloc called it since `disarm`, here and in children forked since."""
    return _library.faults_count(call.encode())


def counts():
    return {call: count(call) for call in CALLS if count(call)}


def injected():
    """How many calls were made to fail, ever."""
    return _library.faults_injected()


def pretend_keys():
    """Have protection keys that protect nothing, for what secalloc does with them."""
    _library.faults_pretend_keys()
