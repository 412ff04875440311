# cython: language_level=3
"""Layer 4: the deliberate ways out of a SecureBytes, added to it as methods."""
import os

from secalloc_ext.securebytes cimport SecureBytes, securebytes_add_methods, securebytes_check


def write_to(SecureBytes self not None, file):
    """Write all bytes to an open descriptor, straight from the secret pages.

    Parameters
    ----------
    file : int or object with ``fileno()``, whose own buffer is not used

    Raises
    ------
    OSError : as ``os.write`` does; what was written till then stays written

    Notes
    -----
    Other threads run meanwhile, and a `wipe` then writes zeros.
    """
    cdef Py_ssize_t done = 0
    fd = file if isinstance(file, int) else file.fileno()
    securebytes_check(self)
    with memoryview(self) as view:
        while done < len(view):
            done += os.write(fd, view[done:])


securebytes_add_methods((write_to,))
