"""Layer 2: a heap's lock: while it holds, nobody but the threads that are let in can touch the heap's objects."""
from secalloc_ext.frame cimport account_t, frame_t

cdef int heaplock_close(account_t *account) noexcept nogil           # lock; ERROR_*, and then it is not locked
cdef int heaplock_open(account_t *account) noexcept nogil            # unlock; ERROR_*, and then it is still locked
cdef int heaplock_enter(account_t *account) noexcept nogil           # let this thread in; ERROR_*, and then it is not
cdef void heaplock_leave(account_t *account, bint pin) noexcept nogil  # and out; `pin`: leave the pages open until
cdef void heaplock_unpin(account_t *account) noexcept nogil          # this
cdef int heaplock_settle(frame_t *frame) noexcept nogil              # give a piece the protection that it shall have
cdef int heaplock_expose(frame_t *frame) noexcept nogil              # anybody may read and write it, until settled
cdef bint heaplock_peek(frame_t *frame) noexcept nogil               # let this thread touch a slab for a moment
cdef void heaplock_unpeek(frame_t *frame, bint before) noexcept nogil  # `before`: what heaplock_peek answered
cdef bint heaplock_force(frame_t *frame) noexcept nogil              # the same at any moment: it stays open
cdef void heaplock_unforce(frame_t *frame, bint before) noexcept nogil
cdef void heaplock_restore(account_t *account) noexcept nogil        # close what was forced and shall be closed
