"""Secret memory for Python.

`SecureBytes` holds bytes on pages that the kernel hides from every other process, `secalloc.numpy` does so for arrays,
`scope` has Python's own objects there for a while, `Heap` is an allocator of such pages of one's own. See README.md
for what that protects from, and what not.
"""
from typing import TYPE_CHECKING

from secalloc.scope import scope
from secalloc_ext.errors import (
    AllocationError,
    ForkedError,
    HeapLimitError,
    MemlockLimitError,
    ProtectedError,
    SecallocError,
    SecretMemoryUnavailable,
    SecretMemoryWarning,
    TooLateError,
    UnsupportedError,
    WipedError,
)
from secalloc_ext.heapobject import Heap, HeapStats, configure, enable_guard_report, stats, wipe_on_signal
from secalloc_ext.methods import SecureBytes

__all__ = [
    "AllocationError",
    "ForkedError",
    "Heap",
    "HeapLimitError",
    "HeapStats",
    "Measure",
    "MemlockLimitError",
    "ProtectedError",
    "SecallocError",
    "SecretMemoryUnavailable",
    "SecretMemoryWarning",
    "SecureBytes",
    "TooLateError",
    "UnsupportedError",
    "WipedError",
    "configure",
    "enable_guard_report",
    "harden_process",
    "scope",
    "stats",
    "wipe_on_signal",
]

__version__ = "0.1.0"
_OF_HARDEN = ("Measure", "harden_process")  # when asked for: what it imports takes longer than all else here

if TYPE_CHECKING:
    from secalloc.harden import Measure, harden_process


def __getattr__(name: str) -> object:
    if name in _OF_HARDEN:
        from secalloc import harden

        return getattr(harden, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
