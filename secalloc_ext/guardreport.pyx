# cython: language_level=3
"""Layer 3: the guard report, opt-in: a SIGSEGV handler that says on standard error what a fault was nearest to::

    secalloc: write 0 bytes behind a guarded object of 32 bytes in heap "tls": guard page

and then lets happen what would have happened without it. It tells sizes, distances and names of heaps; no addresses, no
bytes.

Async-signal-safe: reads frame records, without a lock, and calls write(2). A record that another thread changes at this
moment may be told wrong.

A handler that was installed later and raises the signal anew, as faulthandler's does, hides the fault's siginfo; the
kernel still tells the fault's address in the context.
"""
from libc.signal cimport SIGSEGV
from libc.stdint cimport uint8_t, uint32_t
from posix.signal cimport siginfo_t
from secalloc_ext.cache cimport heap_t
from secalloc_ext.chunk cimport reservation
from secalloc_ext.frame cimport (
    KIND_INHERITED, KIND_LARGE, KIND_LARGE_FREE, KIND_PIECE, KIND_UNUSED, account_is_locked, frame_is_guarded,
    frame_is_slab, frame_kind, frame_t)
from secalloc_ext.large cimport large_object
from secalloc_ext.mapping cimport ACCESS_NONE, ACCESS_READ
from secalloc_ext.prim cimport FRAME_BYTES, FRAME_SHIFT, atomic_load_16_relaxed
from secalloc_ext.signals cimport handler_chain, handler_install, handler_t
from secalloc_ext.slot cimport STATE_LIVE, STATE_SIZE

cdef extern from *:
    """
    #include <signal.h>
    #include <ucontext.h>
    #include <unistd.h>
    /* Where the fault was. x86: from the context, which has it even when the signal was raised anew after a fault. */
    static inline const uint8_t *fault_address(const siginfo_t *info, const void *context)
    {
    #if defined(__x86_64__)
        if (info->si_code <= 0)
            return (const uint8_t *)((const ucontext_t *)context)->uc_mcontext.gregs[REG_CR2];
    #else
        (void)context;
        if (info->si_code <= 0)
            return NULL;
    #endif
        return (const uint8_t *)info->si_addr;
    }
    static inline const char *fault_kind(const void *context)
    {
    #if defined(__x86_64__)
        return ((const ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 2 ? "write" : "read";
    #else
        (void)context;
        return "access";
    #endif
    }
    static inline void report_write(const char *text, size_t length)
    {
        ssize_t written = write(STDERR_FILENO, text, length);
        (void)written; /* there is nowhere left to report to */
    }
    """
    const uint8_t *fault_address(const siginfo_t *info, const void *context) noexcept nogil
    const char *fault_kind(const void *context) noexcept nogil
    void report_write(const char *text, size_t length) noexcept nogil

cdef enum:
    LINE_BYTES_MAX = 256
    FAR_BYTES = FRAME_BYTES   # what is farther from an object has nothing to do with it

cdef struct line_t:
    size_t length
    char text[LINE_BYTES_MAX + 1]  # and the line feed

cdef handler_t handler


cdef void add(line_t *line, const char *text) noexcept nogil:
    while text[0] != 0 and line.length < LINE_BYTES_MAX:
        line.text[line.length] = text[0] if 32 <= text[0] < 127 else 63
        line.length += 1
        text += 1


cdef void add_number(line_t *line, size_t number) noexcept nogil:
    cdef char[21] digits
    cdef size_t first = 20
    digits[20] = 0
    while True:
        first -= 1
        digits[first] = <char>(48 + number % 10)
        number //= 10
        if number == 0:
            break
    add(line, digits + first)


cdef frame_t *frame_around(const uint8_t *p) noexcept nogil:
    """The record of the mapped piece that `p` lies in, or is nearest to; NULL where there is none beside it."""
    cdef frame_t *end = reservation.frames + (reservation.used >> FRAME_SHIFT)
    cdef frame_t *here = reservation.frames + (<size_t>(p - reservation.base) >> FRAME_SHIFT)
    cdef frame_t *before = here
    cdef size_t behind = FAR_BYTES
    if here < end and frame_kind(here) == KIND_INHERITED:
        return here
    while before >= reservation.frames and (before >= end or frame_kind(before) == KIND_UNUSED or before.start > p):
        before -= 1
    if before >= reservation.frames:
        if p < before.start + before.piece_bytes:
            return before
        behind = <size_t>(p - (before.start + before.piece_bytes))
    # In a hole. What lies on its other side begins in this frame, or not at all beside it.
    if here < end and frame_kind(here) != KIND_UNUSED and here.start > p and <size_t>(here.start - p) <= behind:
        return here
    return before if behind < FAR_BYTES else NULL


cdef void add_place(line_t *line, const uint8_t *p, const uint8_t *first, size_t size) noexcept nogil:
    """Where `p` lies, seen from an object of `size` bytes at `first`."""
    if first <= p < first + size:
        add(line, b" inside ")
        return
    add(line, b" ")
    add_number(line, <size_t>(first - p) if p < first else <size_t>(p - first) - size)
    add(line, <const char *>b" bytes before " if p < first else <const char *>b" bytes behind ")


cdef void add_slab(line_t *line, const frame_t *slab, const uint8_t *p) noexcept nogil:
    """The slot that `p` lies in, or the slab's first or last."""
    cdef size_t index = 0
    cdef uint32_t state
    if p >= slab.start:
        index = <size_t>(p - slab.start) // slab.slot_bytes if slab.slot_bytes > 0 else 0
    if index >= slab.slots:
        index = slab.slots - 1
    state = atomic_load_16_relaxed(slab.states + index)
    if state & STATE_LIVE:
        add_place(line, p, slab.start + index * slab.slot_bytes, state & STATE_SIZE)
        add(line, b"an object of ")
        add_number(line, state & STATE_SIZE)
        add(line, b" bytes")
    else:
        add_place(line, p, slab.start + index * slab.slot_bytes, slab.slot_bytes)
        add(line, b"a free slot of ")
        add_number(line, slab.slot_bytes)
        add(line, b" bytes")


cdef void add_object(line_t *line, const frame_t *object, const uint8_t *p) noexcept nogil:
    if frame_kind(object) == KIND_LARGE_FREE:
        add_place(line, p, object.start, object.piece_bytes)
        add(line, b"a freed large object")
        return
    add_place(line, p, large_object(object), object.object_bytes)
    add(line, b"a guarded" if frame_is_guarded(object) else b"a large")
    add(line, b" object of ")
    add_number(line, object.object_bytes)
    add(line, b" bytes")


cdef const char *reason(const frame_t *frame, const uint8_t *p) noexcept nogil:
    """Why the access was none."""
    if not frame.start <= p < frame.start + frame.piece_bytes:
        return b"guard page"
    if frame_kind(frame) == KIND_LARGE_FREE:
        return b"use after free"
    if account_is_locked(frame.account):
        return b"the heap is locked"
    if frame_kind(frame) == KIND_LARGE and frame.access == ACCESS_NONE:
        return b"noaccess"
    if frame_kind(frame) == KIND_LARGE and frame.access == ACCESS_READ:
        return b"readonly"
    return b"not allowed"


cdef void describe(line_t *line, const uint8_t *p) noexcept nogil:
    cdef const frame_t *frame = frame_around(p)
    if frame == NULL:
        add(line, b" in secret address space where nothing is")
        return
    if frame_kind(frame) == KIND_INHERITED:
        add(line, b" of what the parent process has in heap \"")
    elif frame_kind(frame) == KIND_PIECE:
        add_place(line, p, frame.start, frame.piece_bytes)
        add(line, b"unused pages in heap \"")
    else:
        if frame_is_slab(frame):
            add_slab(line, frame, p)
        else:
            add_object(line, frame, p)
        add(line, b" in heap \"")
    add(line, (<const heap_t *>frame.account).name)
    add(line, b"\": ")
    add(line, <const char *>b"isolated by fork" if frame_kind(frame) == KIND_INHERITED else reason(frame, p))


cdef void report_then(int number, siginfo_t *info, void *context) noexcept nogil:
    cdef const uint8_t *p = fault_address(info, context)
    cdef line_t line
    line.length = 0
    if <size_t>(p - reservation.base) < reservation.bytes:
        add(&line, b"secalloc: ")
        add(&line, fault_kind(context))
        describe(&line, p)
        line.text[line.length] = 10
        report_write(line.text, line.length + 1)
    handler_chain(&handler.before, number, info, context)


cdef int guardreport_install() noexcept nogil:
    return handler_install(&handler, SIGSEGV, report_then)
