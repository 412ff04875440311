"""Layer 3: wiping everything when the process is about to end."""

cdef int emergency_on_signal(int number) noexcept nogil   # 0, or -1 with errno
cdef int emergency_at_exit() noexcept nogil               # 0, or -1
