# cython: language_level=3
"""Layer 4: `Heap`, `configure`, `stats`.

A Heap object is a handle: the heap itself lives until its last object is freed. All methods may be called from any
thread; figures are exact while no other thread uses the heap.
"""
import os
from collections import namedtuple

cimport cython

from libc.errno cimport ENOSYS, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from secalloc_ext import errors
from secalloc_ext.frame cimport account_is_locked
from secalloc_ext.audit cimport (
    PART_KEPT, PART_LARGE, PART_PIECE, PART_SLAB, audit_heap, audit_holders, audit_is_valid, audit_layout, audit_t,
    part_t)
from secalloc_ext.cache cimport HEAPS_MAX, ON_FORK_COPY, ON_FORK_ISOLATE
from secalloc_ext.chunk cimport chunk_seal
from secalloc_ext.emergency cimport emergency_at_exit, emergency_on_signal
from secalloc_ext.guardreport cimport guardreport_install
from secalloc_ext.heap cimport (
    heap_enter, heap_error, heap_error_set, heap_leave, heap_lock, heap_trim)
from secalloc_ext.heaps cimport heap_close, heap_configure, heap_create, heap_default, heap_options_init, heap_options_t
from secalloc_ext.large cimport QUARANTINE_LARGE_MAX, WARM_LARGE_MAX
from secalloc_ext.mapping cimport BACKEND_MLOCK, BACKEND_SECRETMEM, mapping_counts_touches, mapping_probe
from secalloc_ext.prefault cimport prefault_piece
from secalloc_ext.prim cimport (
    ERROR_ADDRESS_SPACE, ERROR_FILES, ERROR_FILE_SIZE, ERROR_FLAGS, ERROR_FORBIDDEN, ERROR_HEAP_LIMIT, ERROR_HEAPS,
    ERROR_INHERITED, ERROR_LOCKED, ERROR_MAP_COUNT, ERROR_MEMLOCK, ERROR_MEMORY, ERROR_NONE, ERROR_PAGE_SIZE,
    ERROR_RANDOM, ERROR_SIZE, ERROR_UNSUPPORTED, lines_can_be_flushed)
from secalloc_ext.quarantine cimport QUARANTINE_SLOTS_MAX
from secalloc_ext.sizeclass cimport SMALL_BYTES_MAX, class_of_size, class_slot_bytes
from secalloc_ext.upkeep cimport upkeep_committed, upkeep_keep, upkeep_ready, upkeep_wipe

ERROR_NAMES = {
    ERROR_UNSUPPORTED: "UNSUPPORTED", ERROR_FORBIDDEN: "FORBIDDEN", ERROR_FLAGS: "FLAGS", ERROR_MEMLOCK: "MEMLOCK",
    ERROR_MAP_COUNT: "MAP_COUNT", ERROR_FILES: "FILES", ERROR_ADDRESS_SPACE: "ADDRESS_SPACE",
    ERROR_HEAP_LIMIT: "HEAP_LIMIT", ERROR_SIZE: "SIZE", ERROR_HEAPS: "HEAPS", ERROR_PAGE_SIZE: "PAGE_SIZE",
    ERROR_INHERITED: "INHERITED", ERROR_LOCKED: "LOCKED", ERROR_FILE_SIZE: "FILE_SIZE", ERROR_MEMORY: "MEMORY",
    ERROR_RANDOM: "RANDOM",
}
ON_FORK = {"isolate": ON_FORK_ISOLATE, "copy": ON_FORK_COPY}
HARDENING = ("fast", "full")
_chosen = {"backend": None, "hardening": None}   # by configure(), for later heaps too
_warned = []                                     # that "auto" means mlock here
BACKENDS = {"secretmem": BACKEND_SECRETMEM, "mlock": BACKEND_MLOCK}
_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


# typing.NamedTuple would cost a quarter of the whole import.
class HeapStats(namedtuple("HeapStats", """
    committed committed_peak limit chunks caches locked protection_key slabs slab_bytes pieces_free piece_bytes_free
    slots_live slots_free slots_taken slot_bytes_live
    large_live large_bytes_live large_committed_live large_free large_committed_free header_bytes
""")):
    """What a heap holds; bytes or counts, each in whole objects or pages.

    ``committed == slab_bytes + piece_bytes_free + large_committed_live + large_committed_free``, and of the slots
    ``slots_live`` hold an object, ``slots_free`` wait in their slab, ``slots_taken`` in a thread cache or quarantine.
    ``protection_key`` is 0 where mprotect(2) is what locks the heap. Revealed bytes are large objects; ``header_bytes``
    is the ordinary memory before them, no part of the sum.
    """

    __slots__ = ()

    @property
    def live(self):
        """Live objects."""
        return self.slots_live + self.large_live

    @property
    def live_bytes(self):
        """Bytes requested for the live objects."""
        return self.slot_bytes_live + self.large_bytes_live


class HeapPart(namedtuple("HeapPart", "frame chunk start bytes kind slot_bytes slots live taken")):
    """A mapped piece of a heap; before and behind each there is at least one page that is never mapped.

    But for revealed bytes, large objects too: before those lies an ordinary page that ends with their header.

    Parameters
    ----------
    frame, chunk : index of its frame of 128 KiB in the reservation, and of the first frame of its chunk
    start : offset in the reservation, whose address is not told
    bytes : whole pages
    kind : "slab"; "piece", mapped and no slab at present; "large", a live large object; "kept", a freed one
    slot_bytes, slots : of a slab; of a large object the bytes asked for, and 1; else 0
    live, taken : slots with an object; those in a thread cache or quarantine
    """

    __slots__ = ()


PART_KINDS = {PART_SLAB: "slab", PART_PIECE: "piece", PART_LARGE: "large", PART_KEPT: "kept"}


cdef list layout_of(heap_t *heap):
    cdef size_t i, count = 0, room = 0
    cdef part_t *parts = NULL
    try:
        while True:
            count = audit_layout(heap, parts, room)
            if count <= room:
                return [HeapPart(**(<dict>parts[i] | {"kind": PART_KINDS[parts[i].kind]})) for i in range(count)]
            free(parts)
            room = count + 16
            parts = <part_t *>malloc(room * sizeof(part_t))
            if parts == NULL:
                raise MemoryError()
    finally:
        free(parts)


def layouts():
    """`Heap.layout` of every heap that has pages, as pairs of name and parts.

    A heap without a handle is among them while an object in it lives.
    """
    cdef heap_t *holders[HEAPS_MAX]
    cdef size_t i
    audit_holders(holders)
    return [((<bytes>holders[i].name).decode(errors="replace"), layout_of(holders[i]))
            for i in range(HEAPS_MAX) if holders[i] != NULL]


def parse_size(size):
    """Bytes from an int, or from a string such as ``"4 MiB"``.

    Raises
    ------
    ValueError : negative, or no size
    TypeError : neither int nor str
    """
    if isinstance(size, str):
        text = size.strip().upper()
        digits = text.rstrip("KMGIB ")
        unit = text[len(digits):].strip()
        if not (digits.isascii() and digits.isdigit()) or unit not in _UNITS:
            raise ValueError(f"not a size: {size!r}; write for instance '4 MiB'")
        return int(digits) * _UNITS[unit]
    if not isinstance(size, int):
        raise TypeError(f"a size is an int or a str, not {type(size).__name__}")
    if size < 0:
        raise ValueError("negative size")
    return size


def probe(flags=0):
    """Why memfd_secret(2) would fail with `flags`, as the exception it would raise; None where it works."""
    cdef int error = mapping_probe(<unsigned>flags)
    return None if error == ERROR_NONE else errors.exception_for(ERROR_NAMES.get(error, ""), 0, 0, 0, flags)


def counts_touches():
    """Whether RLIMIT_MEMLOCK counts secret pages as they are touched, of all processes of a user, root's too.

    Newer kernels do, since "mm/secretmem: properly account locked pages". Then what a heap maps is touched at once.
    """
    return mapping_counts_touches()


def resolve_backend(backend):
    """The backend's number; "auto" asks the kernel, and falls back to mlock, once with a warning.

    Only where the kernel gives no secret memory at all: what passes, as a lack of descriptors, is raised.
    """
    if backend == "auto":
        failure = probe()
        if failure is None:
            return BACKEND_SECRETMEM
        if not isinstance(failure, errors.SecretMemoryUnavailable):
            raise failure
        if not _warned:
            import warnings

            warnings.warn(f"secrets are held in locked ordinary memory, which root can read: {failure}",
                          errors.SecretMemoryWarning, stacklevel=3)
            _warned.append(True)  # not where the warning is an error
        return BACKEND_MLOCK
    if backend not in BACKENDS:
        raise ValueError(f"backend, or SECALLOC_BACKEND, is 'secretmem', 'mlock' or 'auto', not {backend!r}")
    return BACKENDS[backend]


def count_within(what, count, most):
    """Check a knob that is a count."""
    if not isinstance(count, int):
        raise TypeError(f"{what} is an int, not {type(count).__name__}")
    if not 0 <= count <= most:
        raise ValueError(f"{what} is between 0 and {most}, not {count}")
    return count


cdef first(values):
    """The first that is given: not None."""
    return next(value for value in values if value is not None)


cdef heap_options_t options_from(name, backend, limit, on_fork, retain, flags, flush, prefault, hardening,
                                 dict knobs) except *:
    """Check and gather what makes a heap; None is the default of each. `knobs`: what `hardening` sets, by name."""
    cdef heap_options_t options
    cdef bytes label = name.encode(errors="replace")[:sizeof(options.name) - 1]
    hardening = first([hardening, _chosen["hardening"], os.environ.get("SECALLOC_HARDENING", "fast")])
    if hardening not in HARDENING:
        raise ValueError(f"hardening is 'fast' or 'full', not {hardening!r}")
    heap_options_init(&options, hardening == "full")
    memcpy(options.name, <const char *>label, len(label))
    if on_fork not in ON_FORK:
        raise ValueError(f"on_fork is 'isolate' or 'copy', not {on_fork!r}")
    options.backend = resolve_backend(
        first([backend, _chosen["backend"], os.environ.get("SECALLOC_BACKEND", "secretmem")]))
    if knobs["quarantine"] is not None:
        options.quarantine = count_within("quarantine", knobs["quarantine"], QUARANTINE_SLOTS_MAX)
    if knobs["quarantine_large"] is not None:
        options.quarantine_large = count_within("quarantine_large", knobs["quarantine_large"], QUARANTINE_LARGE_MAX)
    if knobs["warm_large"] is not None:
        options.warm_large = count_within("warm_large", knobs["warm_large"], WARM_LARGE_MAX)
    if knobs["gap_frames"] is not None:
        options.gap_frames = count_within("gap_frames", knobs["gap_frames"], 255)
    if knobs["verify_whole"] is not None:
        options.verify_whole = count_within("verify_whole", knobs["verify_whole"], 1)
    options.flags = flags
    options.limit = parse_size(first([limit, 0]))
    options.on_fork = ON_FORK[on_fork]
    if flush and not lines_can_be_flushed():
        raise NotImplementedError("flush_on_wipe: this processor lets a program flush no cache lines")
    options.flush = flush
    options.ahead = prefault
    if retain is not None:
        options.retain = parse_size(retain)
    return options


def configure(*, backend=None, limit=None, reservation=None, flags=0, on_fork="isolate", retain=None,
              flush_on_wipe=False, prefault=True, hardening=None, quarantine=None, quarantine_large=None,
              warm_large=None, gap_frames=None, verify_whole=None):
    """Choose what the default heap will be. Only before its first use.

    Slots are always chosen at random, canaries and zeros always checked, wiping always done; `hardening` sets the rest.

    Parameters
    ----------
    backend : "secretmem" (fails closed), "mlock" or "auto"; default: SECALLOC_BACKEND, or "secretmem"
    limit : most bytes of secret pages, as int or "4 MiB"; default: no limit but the system's
    reservation : bytes of address space for all heaps; default: SECALLOC_RESERVATION, or 1 TiB
    flags : for memfd_secret(2); no Linux up to 6.18 knows any
    on_fork : "isolate" or "copy", see `Heap`
    retain : bytes of empty slabs, and of freed large objects, to keep mapped for reuse; default "256 MiB" of each
    flush_on_wipe : write the cache lines of what is wiped back to memory, so that DRAM too holds zeros; slower
    prefault : let a thread touch pages ahead of need, once a heap has 256 KiB; it ends when it has nothing to do
    hardening : "fast" or "full", the defaults of those below; default: SECALLOC_HARDENING, or "fast"
    quarantine : freed slots of each class (of at most 64 KiB) that wait in random places before they can be allocated
        again, 0 to 256; "fast" 0 (they wait for their bitmap word), "full" 128
    quarantine_large : the same for large objects up to 256 KiB, 0 to 32; "fast" 4, "full" 32
    warm_large : large objects of at most 64 KiB, or of array data within `retain`, that stay accessible when they are
        freed, zero as slots are, until others take their random places, 0 to 8; "fast" 4, "full" 0
    gap_frames : at most so many unused frames of 128 KiB between chunks, at random, 0 to 255; "fast" 3, "full" 15
    verify_whole : look for writes after free in all of a slot that is allocated; otherwise, of objects above 1 KiB, in
        128 bytes each of its head, of its tail and at a random place; "fast" False, "full" True

    Raises
    ------
    TooLateError : secret memory is in use already
    ValueError : unknown backend, no size, or out of range
    """
    cdef heap_options_t options = options_from(
        "default", backend, limit, on_fork, retain, flags, flush_on_wipe, prefault, hardening,
        {"quarantine": quarantine, "quarantine_large": quarantine_large, "warm_large": warm_large,
         "gap_frames": gap_frames, "verify_whole": verify_whole})
    reservation = parse_size(first([reservation, os.environ.get("SECALLOC_RESERVATION", 0)]))
    if heap_configure(reservation, &options) != ERROR_NONE:
        raise errors.TooLateError("configure() comes before the first secret: the default heap is in use")
    _chosen.update(backend=backend, hardening=hardening)


cdef int raise_error(heap_t *heap, Py_ssize_t size) except -1:
    """Raise what stands behind the calling thread's last failed allocation."""
    raise errors.exception_for(
        ERROR_NAMES.get(heap_error(), ""), size, upkeep_committed(heap) if heap != NULL else 0,
        heap.account.limit if heap != NULL else 0, heap.account.flags if heap != NULL else 0)


def touch(Heap heap not None, size_t stock, progress=None):
    """Touch pieces until `stock` bytes are ready, as one of several threads, or a limit is reached: the thread's last
    error."""
    cdef heap_t *target = heap.get()
    cdef int error = ERROR_NONE
    cdef bint more = True
    while more:
        with nogil:
            more = prefault_piece(&target.pieces, stock, &error)
        if more and progress is not None:
            progress(min(upkeep_ready(target), stock), stock)
    heap_error_set(error)


cdef class Heap:
    """A heap of secret pages of its own.

    Parameters
    ----------
    name : for messages and statistics
    limit : most bytes of secret pages, as int or "4 MiB"; None: no limit but the system's
    backend : "secretmem", "mlock" or "auto"; None: as `configure` or the environment chose for the default heap
    on_fork : "isolate": a forked child cannot see what is in the heap; "copy": it gets a copy of its own
    retain : bytes of empty slabs, and of freed large objects, to keep mapped for reuse; None: 256 MiB of each
    flush_on_wipe, prefault, hardening, quarantine, quarantine_large, warm_large, gap_frames, verify_whole :
        see `configure`

    Raises
    ------
    SecretMemoryUnavailable : at the first allocation, where the kernel has none to give
    AllocationError : 256 heaps are in use

    Notes
    -----
    Objects keep their heap: it is given back when the handle and the last object are gone.
    """

    def __cinit__(self, name, *, limit=None, backend=None, on_fork="isolate", retain=None, flush_on_wipe=False,
                  prefault=True, hardening=None, quarantine=None, quarantine_large=None, warm_large=None,
                  gap_frames=None, verify_whole=None):
        cdef heap_options_t options
        if not isinstance(name, str):
            raise TypeError(f"a heap's name is a str, not {type(name).__name__}")
        self.name = name
        if type(self) is _DefaultHeap:
            return
        options = options_from(
            name, backend, limit, on_fork, retain, 0, flush_on_wipe, prefault, hardening,
            {"quarantine": quarantine, "quarantine_large": quarantine_large, "warm_large": warm_large,
             "gap_frames": gap_frames, "verify_whole": verify_whole})
        self.heap = heap_create(&options)
        if self.heap == NULL:
            raise_error(NULL, 0)

    def __dealloc__(self):
        if self.heap != NULL and self.heap.index != 0:
            heap_close(self.heap)

    cdef heap_t *get(self) except NULL:
        """The heap; the default one comes into being here."""
        if self.heap == NULL:
            self.heap = heap_default()
            if self.heap == NULL:
                raise_error(NULL, 0)
        return self.heap

    def __repr__(self):
        return f"<Heap {self.name!r}>"

    def __reduce__(self):
        raise TypeError("a Heap belongs to its process and cannot be pickled")

    @property
    def backend(self):
        """"secretmem" or "mlock": what holds the heap's objects."""
        return "secretmem" if self.get().account.backend == BACKEND_SECRETMEM else "mlock"

    @property
    def on_fork(self):
        """"isolate" or "copy": what a forked child finds."""
        return "copy" if self.get().on_fork == ON_FORK_COPY else "isolate"

    @property
    def limit(self):
        """Most bytes of secret pages; None if unlimited."""
        return self.get().account.limit or None

    @property
    def hardening(self):
        """The knobs of placement by name, as `configure` describes them."""
        cdef heap_t *heap = self.get()
        return {"quarantine": heap.quarantine.slots, "quarantine_large": heap.large.quarantine_places,
                "warm_large": heap.large.warm_places, "gap_frames": heap.account.gap_frames,
                "verify_whole": heap.account.verify_whole}

    def stats(self):
        """Count what the heap holds, as `HeapStats`. Walks all of it."""
        cdef audit_t audit
        audit_heap(self.get(), &audit)
        return HeapStats(**audit)

    def reserve(self, size, *, threads=None, progress=None):
        """Have memory for small objects ready: mapped, and touched, which is what costs at a first use.

        Parameters
        ----------
        size : bytes, as int or "256 MiB"; how much is to be free in the end. It stays, until `trim`
        threads : how many touch pages; default: as many as this process may use processors
        progress : called as ``progress(done, size)``, in bytes, by this thread, after each piece of 124 KiB of its own
            and at the end

        Raises
        ------
        MemlockLimitError, HeapLimitError, AllocationError : there is no more; what there is stays
        ProtectedError : the heap is locked

        Notes
        -----
        Large objects, and arrays of more than 16 KiB, have pages of their own: those are kept once they were used.
        """
        cdef heap_t *heap = self.get()
        cdef size_t stock = parse_size(size)
        import threading

        if stock > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):  # none of it could be swapped out
            raise errors.exception_for("SIZE", stock, 0, 0, 0)
        upkeep_keep(heap, stock)
        others = [threading.Thread(target=touch, args=(self, stock))
                  for _ in range((threads or len(os.sched_getaffinity(0))) - 1)]
        for other in others:
            other.start()
        try:
            touch(self, stock, progress)
        finally:
            for other in others:
                other.join()
        if heap_error() != ERROR_NONE:
            raise_error(heap, <Py_ssize_t>stock)
        if progress is not None:  # which may have seen none of it: the others were sooner
            progress(min(upkeep_ready(heap), stock), stock)

    def layout(self):
        """What of the heap lies where, as a list of `HeapPart` in the order of addresses. Walks all of it."""
        return layout_of(self.get())

    def trim(self):
        """Give every page without a live object back to the kernel.

        Other threads that allocated here and still run keep the slabs they allocate from at present.
        """
        heap_trim(self.get())

    # --- its lock ---

    def lock(self):
        """Let no thread touch the objects in the heap, but inside `unlocked` blocks.

        By a protection key where the processor has one, else by mprotect(2); `stats` says which. Use of a SecureBytes
        then raises `ProtectedError`; use from C, and of arrays in the heap, faults. Dropping objects goes on working.
        No other thread may be using the heap at this moment without the GIL.

        Raises
        ------
        BufferError : a view of an object in the heap is out, or a revealed one
        AllocationError : the kernel has no room for the protection
        """
        cdef heap_t *heap = self.get()
        if self.views > 0:
            raise BufferError("a view of an object in the heap is out, or a revealed one: the heap cannot be locked")
        self.check_lock(heap_lock(heap, True))

    def unlock(self):
        """Let all threads touch the objects again. Nothing happens to a heap that is not locked.

        Raises
        ------
        AllocationError : the kernel has no room for the protection; the heap is locked still
        """
        self.check_lock(heap_lock(self.get(), False))

    def unlocked(self):
        """A block in which the calling thread can use the locked heap; other threads cannot.

        Blocks nest. A view, or a revealed object, that is still out at the end of the outermost keeps the pages open
        until it is gone.
        C code of other threads is not kept out during the block where mprotect(2) is the mechanism, and with protection
        keys that of threads started in it is not.
        """
        return UnlockedHeap(self)

    @property
    def locked(self):
        """Whether `lock` holds."""
        return account_is_locked(&self.get().account)

    cdef int check_lock(self, int error) except -1:
        if error != ERROR_NONE:
            heap_error_set(error)
            raise_error(self.heap, 0)
        return 0

    def wipe(self):
        """Zero the bytes of every live object in the heap, at once, guarded ones in any state included.

        The objects stay alive: they are zero. For emergencies; see also `wipe_on_signal`.
        """
        upkeep_wipe(self.get())

    def is_valid(self):
        """Whether every slot, canary and sum is as it should be. Reads the whole heap; no other thread may use it."""
        return audit_is_valid(self.get())


@cython.final
@cython.no_gc_clear  # a block in a cycle may end after it was found to be garbage: it needs `heap`
cdef class UnlockedHeap:
    """What `Heap.unlocked` answers."""
    cdef Heap heap

    def __cinit__(self, Heap heap not None):
        self.heap = heap

    def __reduce__(self):
        raise TypeError("an unlocked block cannot be pickled")

    def __enter__(self):
        self.heap.check_lock(heap_enter(self.heap.get()))
        return self.heap

    def __exit__(self, *exception):
        if not heap_leave(self.heap.get(), self.heap.views > 0):
            raise RuntimeError("an unlocked block ends in the thread that began it")


class _DefaultHeap(Heap):
    __slots__ = ()


configure()
DEFAULT = _DefaultHeap("default")


cdef Heap default_heap():
    return <Heap>DEFAULT


def wipe_on_signal(*signals, at_exit=True):
    """Wipe every heap when one of `signals` arrives, and when the process exits.

    What would have happened at the signal happens afterwards: the handler that was there runs, or the default action
    is taken. Python code that goes on after that finds its secrets zero, and the pages of a locked heap or a guarded
    object may be open to C code until its next block or change of protection. SIGKILL cannot be caught, and need not:
    the kernel zeroes secret pages before anybody gets them.

    Raises
    ------
    OSError : not a signal, or one that cannot be caught
    """
    for number in signals:
        if emergency_on_signal(int(number)) != 0:
            raise OSError(errno, f"signal {int(number)} cannot be caught")
    if at_exit and emergency_at_exit() != 0:
        raise MemoryError()


def enable_guard_report():
    """Before the process dies of a fault in secret address space, tell on standard error what it hit.

    A guard page, a freed, protected or inherited object, a locked heap: one line with the kind and size of the object
    that was nearest, the distance, and the heap's name; no secret, no address. Then happens what would have happened
    without it: the handler that was there before runs (faulthandler's too, in either order), or the process dies by
    SIGSEGV. Costs nothing until then.

    Raises
    ------
    OSError : SIGSEGV cannot be caught
    """
    if guardreport_install() != 0:
        raise OSError(errno, "SIGSEGV cannot be caught")


def seal():
    """Have the kernel refuse to change the mappings of the allocator's records and guards, now and as they grow, until
    the process ends: mseal(2). Those that hold objects stay as they are: they are released, locked and closed.

    Raises
    ------
    OSError : the kernel is older than Linux 6.10, or refuses
    """
    cdef int error = chunk_seal()
    if error == ERROR_UNSUPPORTED:
        raise OSError(ENOSYS, "mseal(2) needs Linux 6.10 or newer")
    if error != ERROR_NONE:
        raise OSError(errno, os.strerror(errno))


def stats():
    """`Heap.stats` of the default heap."""
    return DEFAULT.stats()


def slot_bytes(size, *, lined=False):
    """Bytes of the slot that holds `size` bytes and their canary; None for a large object.

    `lined`: as for array data, in slots of whole cache lines.
    """
    if size > SMALL_BYTES_MAX:
        return None
    return class_slot_bytes(class_of_size(size), lined)
