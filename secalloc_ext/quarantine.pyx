# cython: language_level=3, cdivision=True
"""Layer 3: the quarantine of slots, of `hardening="full"`.

A freed and wiped slot takes a random place among those of its bin; the slot that was there goes back to its slab. So it
is unknown after how many frees a slot can be allocated again, beyond the wait for its bitmap word that all slots have.
When it comes out it must still be zero: that is when a write after free is found.

No lock: a place is changed by one atomic exchange, from any thread.

Invariant: a slot in quarantine is closed (state 0, all zero) and its bit is clear, as if a thread cache had it.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from secalloc_ext.chunk cimport chunk_frame, chunk_metadata, reservation
from secalloc_ext.frame cimport frame_t
from secalloc_ext.prim cimport ERROR_NONE, atomic_exchange, bytes_are_zero, fatal_error
from secalloc_ext.sizeclass cimport BIN_COUNT


cdef int quarantine_init(quarantine_t *quarantine, uint32_t slots) noexcept nogil:
    """`slots` places for each bin. Places that an earlier heap of this record had are used again."""
    cdef int error = ERROR_NONE
    if slots > QUARANTINE_SLOTS_MAX:
        slots = QUARANTINE_SLOTS_MAX
    if slots > 0 and quarantine.places == NULL:
        quarantine.places = <uint64_t *>chunk_metadata(
            BIN_COUNT * QUARANTINE_SLOTS_MAX * sizeof(uint64_t), &error)
    if error == ERROR_NONE:
        quarantine.slots = slots
    return error


cdef size_t quarantine_places(const quarantine_t *quarantine) noexcept nogil:
    return BIN_COUNT * <size_t>quarantine.slots


cdef frame_t *leave(uint64_t name, uint32_t *index) noexcept nogil:
    """The slot behind a name: its slab, and `index` in it; NULL for the empty place's."""
    cdef frame_t *slab
    if name == 0:
        return NULL
    slab = chunk_frame(<uint32_t>(name >> 16) - 1)
    index[0] = <uint32_t>(name & 0xffff)
    if not bytes_are_zero(slab.start + index[0] * slab.slot_bytes, slab.slot_bytes):
        fatal_error("write after free")
    return slab


cdef frame_t *quarantine_pass(quarantine_t *quarantine, frame_t *slab, uint32_t *index,
                              unsigned random) noexcept nogil:
    """Put a closed slot in; answers the slab of the one that comes out, with its `index`. `random`: 0 to 255."""
    cdef size_t places = QUARANTINE_BYTES_MAX // slab.slot_bytes
    cdef uint64_t name = <uint64_t>(slab - reservation.frames + 1) << 16 | index[0]
    if places > quarantine.slots:
        places = quarantine.slots
    return leave(atomic_exchange(quarantine.places + slab.bin * <size_t>quarantine.slots + random * places // 256,
                                 name), index)


cdef frame_t *quarantine_pull(quarantine_t *quarantine, size_t place, uint32_t *index) noexcept nogil:
    """Empty one of all `quarantine_places`."""
    return leave(atomic_exchange(quarantine.places + place, 0), index)


cdef void quarantine_clear(quarantine_t *quarantine) noexcept nogil:
    if quarantine.places != NULL:
        memset(quarantine.places, 0, BIN_COUNT * QUARANTINE_SLOTS_MAX * sizeof(uint64_t))
