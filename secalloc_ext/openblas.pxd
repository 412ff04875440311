cdef void openblas_begin() noexcept
cdef void openblas_end() noexcept
cdef void openblas_wipe() noexcept
