"""Layer 3: first touches of secret pages, made before they are needed."""
from secalloc_ext.pieces cimport pieces_t

cdef bint prefault_piece(pieces_t *pieces, size_t stock, int *error) noexcept nogil
cdef bint prefault_has_reserve(const pieces_t *pieces) noexcept nogil   # lock held: more than the thread keeps
cdef void prefault_wish(pieces_t *pieces) noexcept nogil      # lock held: a piece was taken
cdef void prefault_settle(pieces_t *pieces) noexcept nogil    # takes the account's lock: nothing is held then
cdef void prefault_pause() noexcept nogil                     # before a fork, no heap's lock held, one at a time
cdef void prefault_resume() noexcept nogil                    # in the parent
cdef void prefault_after_fork() noexcept nogil                # in the child
