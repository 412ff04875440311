# cython: language_level=3
"""Layer 4: a terminal that shows nothing of what is typed, and is as it was in the end. It holds no secret.

Its mode is without echo (ECHO) and without lines (ICANON), but with signals: the kernel turns Ctrl-C, Ctrl-Z and the
like into SIGINT and SIGTSTP for all that runs in the foreground. A signal that would end or stop the process finds the
terminal restored first; that is done by handlers, which Python allows to the main thread. A signal with a handler of
somebody else's is his; if that raises, the block ends like any other.

Compiled, as no handler of Python's can run here between the change of the mode and the `try` that restores it.
"""
import os

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR

cdef object select, signal, termios, threading   # modules, imported when first needed: they take 4 ms
cdef tuple BY_DEFAULT_THE_END = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGALRM", "SIGTSTP")
cdef bytes PASTE_ON = b"\x1b[?2004h"    # the terminal shall mark what is pasted
cdef bytes PASTE_OFF = b"\x1b[?2004l"
cdef enum:
    LFLAG = 3        # in what tcgetattr answers
    CC = 6
    TICK_MS = 100    # a signal that comes just before the wait is handled this much later


cdef int import_modules() except -1:
    global select, signal, termios, threading
    import select
    import signal
    import termios
    import threading
    return 0


cdef int set_mode(int fd, list mode) except -1:
    while True:
        try:
            termios.tcsetattr(fd, termios.TCSAFLUSH, mode)
            return 0
        except termios.error as error:
            if error.args[0] != EINTR:
                raise


@cython.final
cdef class Terminal:
    """A block in which the terminal is silent. What is asked is shown again after a stop, with the marks behind it."""

    def __cinit__(self, int fd, int shown_on, bytes mask):
        import_modules()
        self.fd = fd
        self.shown_on = shown_on
        self.prompt = b""
        self.mask = mask
        self.pastes = os.environ.get("TERM", "dumb") not in ("", "dumb")
        self.handled = []
        self.poller = select.poll()
        self.poller.register(fd, select.POLLIN)

    def __reduce__(self):
        raise TypeError("a terminal cannot be pickled")

    def __enter__(self):
        self.before = termios.tcgetattr(self.fd)
        try:
            if threading.current_thread() is threading.main_thread():
                for name in BY_DEFAULT_THE_END:
                    number = getattr(signal, name)
                    if signal.getsignal(number) is signal.SIG_DFL:
                        self.handled.append(number)
                        signal.signal(number, self.pass_on)
            self.silence()
        except BaseException:
            self.restore()
            raise
        return self

    def __exit__(self, *exception):
        self.restore()

    def pass_on(self, number, frame):
        """The handler: restore the terminal, then let happen what happens by default. After a stop, go on."""
        self.speak()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, self.pass_on)
        self.silence()

    cdef int silence(self) except -1:
        mode = termios.tcgetattr(self.fd)
        mode[LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN)
        mode[CC][termios.VMIN], mode[CC][termios.VTIME] = 1, 0
        set_mode(self.fd, mode)
        self.lflag = mode[LFLAG]
        self.show((PASTE_ON if self.pastes else b"") + self.prompt + self.mask * self.marks)
        return 0

    cdef int speak(self) except -1:
        try:
            set_mode(self.fd, self.before)
            self.show((PASTE_OFF if self.pastes else b"") + b"\n")
        except (termios.error, OSError) as error:  # it was hung up: there is no mode left to restore
            self.lost = error
        return 0

    cdef int restore(self) except -1:
        """The mode first. signal.signal() runs handlers that wait, and if one raises it has not done its work."""
        raised = None
        self.speak()
        while self.handled:
            try:
                if signal.getsignal(self.handled[-1]) == self.pass_on:
                    signal.signal(self.handled[-1], signal.SIG_DFL)
                self.handled.pop()
            except BaseException as error:
                raised = error
        if raised is not None:
            raise raised
        return 0

    cdef int ask(self, str prompt) except -1:
        if self.prompt:
            self.show(b"\n")
        self.prompt = prompt.encode("utf-8", "replace")
        self.marks = 0
        return self.show(self.prompt)

    cdef int show(self, bytes text) except -1:
        while text:
            text = text[os.write(self.shown_on, text):]
        return 0

    cdef int mark(self, Py_ssize_t count) except -1:
        """Show so many marks, no more and no fewer."""
        if self.mask:
            self.show(self.mask * (count - self.marks) + b"\b \b" * (self.marks - count))
        self.marks = count
        return 0

    cdef int wait(self) except -1:
        """Until there is something to read, or the terminal is gone. Another mode that somebody has set meanwhile, as a
        shell does while the process is stopped, is replaced."""
        PyErr_CheckSignals()
        while not self.poller.poll(TICK_MS):
            PyErr_CheckSignals()  # for one that came before the wait
            try:
                if termios.tcgetattr(self.fd)[LFLAG] != self.lflag:
                    self.silence()
            except termios.error as error:  # it was hung up: reading tells
                self.lost = error
                return 0
        return 0

    cdef object keys(self):
        """The characters for erasing one, a word, all, and for the end; 0 where there is none."""
        cc = self.before[CC]
        return [ord(cc[i]) for i in (termios.VERASE, termios.VWERASE, termios.VKILL, termios.VEOF)]
