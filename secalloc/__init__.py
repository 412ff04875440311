"""Secret memory for Python.

`SecureBytes` holds bytes on pages that the kernel hides from every other process, `secalloc.numpy` does so for arrays,
`scope` has Python's own objects there for a while, `Heap` is an allocator of such pages of one's own. See README.md
for what that protects from, and what not.
"""
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
    "scope",
    "stats",
    "wipe_on_signal",
]

__version__ = "0.1.0"
