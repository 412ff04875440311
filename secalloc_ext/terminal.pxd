"""Layer 4: a terminal that shows nothing of what is typed, and is as it was in the end. Holds no secret."""

cdef class Terminal:
    cdef int fd, shown_on
    cdef bytes prompt, mask
    cdef Py_ssize_t marks          # how many are shown
    cdef bint pastes
    cdef list before               # its mode, as tcgetattr has it
    cdef list handled              # signals
    cdef long lflag                # of the silent mode
    cdef object poller, lost

    cdef int silence(self) except -1
    cdef int speak(self) except -1
    cdef int restore(self) except -1
    cdef int ask(self, str prompt) except -1
    cdef int show(self, bytes text) except -1
    cdef int mark(self, Py_ssize_t count) except -1
    cdef int wait(self) except -1
    cdef object keys(self)
