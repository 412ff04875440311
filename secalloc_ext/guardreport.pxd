"""Layer 3: what a fault in secret address space hit, told before the process dies of it."""

cdef int guardreport_install() noexcept nogil   # 0, or -1 with errno; idempotent
