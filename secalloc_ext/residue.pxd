cdef size_t residue_wipe_all() noexcept
