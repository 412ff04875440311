"""Layer 4: read(2) straight into secret pages."""

# Waits where a descriptor is non-blocking; 0 at the end. Signal handlers run meanwhile, and may raise.
cdef Py_ssize_t file_read(int fd, unsigned char *to, Py_ssize_t size) except -1
