from collections.abc import Callable
from typing import Final, NamedTuple, NoReturn, Self, SupportsIndex, final

from typing_extensions import disjoint_base

from secalloc_ext.errors import SecallocError

ERROR_NAMES: Final[dict[int, str]]
ON_FORK: Final[dict[str, int]]
HARDENING: Final[tuple[str, ...]]
BACKENDS: Final[dict[str, int]]
DEFAULT: Final[Heap]
PART_KINDS: Final[dict[int, str]]

class HeapStats(NamedTuple):
    committed: int
    committed_peak: int
    limit: int
    chunks: int
    caches: int
    locked: int
    protection_key: int
    slabs: int
    slab_bytes: int
    pieces_free: int
    piece_bytes_free: int
    slots_live: int
    slots_free: int
    slots_taken: int
    slot_bytes_live: int
    large_live: int
    large_bytes_live: int
    large_committed_live: int
    large_free: int
    large_committed_free: int
    header_bytes: int
    @property
    def live(self) -> int: ...
    @property
    def live_bytes(self) -> int: ...

class HeapPart(NamedTuple):
    """`kind`: "slab", "piece" (no slab at present), "large", "kept" (a freed large object)."""

    frame: int
    chunk: int
    start: int
    bytes: int
    kind: str
    slot_bytes: int
    slots: int
    live: int
    taken: int

@disjoint_base
class Heap:
    name: Final[str]
    def __new__(
        cls,
        name: str,
        *,
        limit: int | str | None = None,
        backend: str | None = None,
        on_fork: str = "isolate",
        retain: int | str | None = None,
        flush_on_wipe: bool = False,
        prefault: bool = True,
        hardening: str | None = None,
        quarantine: int | None = None,
        quarantine_large: int | None = None,
        warm_large: int | None = None,
        gap_frames: int | None = None,
        verify_whole: bool | None = None,
    ) -> Self: ...
    @property
    def backend(self) -> str: ...
    @property
    def on_fork(self) -> str: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def hardening(self) -> dict[str, int]: ...
    def stats(self) -> HeapStats: ...
    def layout(self) -> list[HeapPart]: ...
    def lock(self) -> None: ...
    def unlock(self) -> None: ...
    def unlocked(self) -> UnlockedHeap: ...
    @property
    def locked(self) -> bool: ...
    def wipe(self) -> None: ...
    def trim(self) -> None: ...
    def reserve(
        self, size: int | str, *, threads: int | None = None, progress: Callable[[int, int], object] | None = None
    ) -> None: ...
    def is_valid(self) -> bool: ...
    def __reduce__(self) -> NoReturn: ...

@final
class UnlockedHeap:
    def __new__(cls, heap: Heap) -> Self: ...
    def __enter__(self) -> Heap: ...
    def __exit__(self, *exception: object) -> None: ...
    def __reduce__(self) -> NoReturn: ...

def touch(heap: Heap, stock: int, progress: Callable[[int, int], object] | None = None) -> None: ...
def count_within(what: str, count: int, most: int) -> int: ...
def parse_size(size: int | str) -> int: ...
def probe(flags: int = 0) -> SecallocError | None: ...
def counts_touches() -> bool: ...
def resolve_backend(backend: str) -> int: ...
def configure(
    *,
    backend: str | None = None,
    limit: int | str | None = None,
    reservation: int | str | None = None,
    flags: int = 0,
    on_fork: str = "isolate",
    retain: int | str | None = None,
    flush_on_wipe: bool = False,
    prefault: bool = True,
    hardening: str | None = None,
    quarantine: int | None = None,
    quarantine_large: int | None = None,
    warm_large: int | None = None,
    gap_frames: int | None = None,
    verify_whole: bool | None = None,
) -> None: ...
def wipe_on_signal(*signals: SupportsIndex, at_exit: bool = True) -> None: ...
def enable_guard_report() -> None: ...
def seal() -> None: ...
def stats() -> HeapStats: ...
def layouts() -> list[tuple[str, list[HeapPart]]]: ...
def slot_bytes(size: int, *, lined: bool = False) -> int | None: ...
