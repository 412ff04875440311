# cython: language_level=3
"""Layer 4: a line typed at a terminal, or sent to standard input, into a SecureBytes.

Each byte is read(2) to the end of the line so far, in the slot where it stays unless it is a key that edits. While the
line is being typed, its slot belongs to no object.

    |typed so far ...|byte|0 0 0 ...|
                     ^count         ^slot.size
"""
import os

from libc.errno cimport EIO
from libc.string cimport memset
from secalloc_ext.arguments cimport index_size
from secalloc_ext.files cimport file_read
from secalloc_ext.heap cimport heap_free
from secalloc_ext.heapobject cimport Heap
from secalloc_ext.prim cimport wipe
from secalloc_ext.securebytes cimport SecureBytes, heap_or_default, securebytes_add_methods, securebytes_of
from secalloc_ext.sources cimport filled_t, source_resize, source_zeros
from secalloc_ext.terminal cimport Terminal

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    LINE_BYTES_FIRST = 128
    STANDARD_INPUT = 0
    STANDARD_ERROR = 2
    ESCAPE = 27

cdef enum step_t:
    GO_ON
    LINE_ENDS
    INPUT_ENDS

cdef enum key_t:            # within what a key that types no character sends:
    NO_KEY
    KEY_BEGINS              # behind ESC
    KEY_OF_ONE              # behind ESC O: one byte more
    KEY_WITH_NUMBERS        # behind ESC [: numbers, then a byte from @ to ~

cdef const char *PASTE_ENDS = b"\x1b[201~"
cdef enum:
    PASTE_BEGINS = 200      # ESC [ 200 ~
    PASTE_ENDS_BYTES = 6

ctypedef struct line_t:
    filled_t slot
    Py_ssize_t count
    Py_ssize_t characters   # that these bytes are, in UTF-8
    Py_ssize_t most         # of `count` in the end; till then it may be PASTE_ENDS_BYTES more
    bint too_long           # there were more
    key_t key
    int number              # of KEY_WITH_NUMBERS
    Py_ssize_t paste        # where pasted text begins, or -1
    int paste_ends          # how many bytes of PASTE_ENDS were the last ones
    int erase, erase_word, erase_all, end   # keys; 0: none


# --- the line ---

cdef inline bint continues(unsigned char byte) noexcept:
    """Whether a byte is not the first of its character, in UTF-8."""
    return byte & 0xc0 == 0x80


cdef void line_cut(line_t *line, Py_ssize_t count) noexcept:
    """Keep so many bytes; what was read behind the line is wiped as well."""
    cdef Py_ssize_t i
    for i in range(count, line.count):
        line.characters -= not continues(line.slot.data[i])
    wipe(line.slot.data + count, <size_t>(min(line.count + 1, line.slot.size) - count))
    line.count = count


cdef void line_erase(line_t *line) noexcept:
    """The last character."""
    cdef Py_ssize_t count = line.count
    while count > 0 and continues(line.slot.data[count - 1]):
        count -= 1
    line_cut(line, max(count - 1, 0))


cdef void line_erase_word(line_t *line) noexcept:
    cdef Py_ssize_t count = line.count
    while count > 0 and line.slot.data[count - 1] == c" ":
        count -= 1
    while count > 0 and line.slot.data[count - 1] != c" ":
        count -= 1
    line_cut(line, count)


cdef void line_keep(line_t *line) noexcept:
    """Count the byte behind the line in."""
    if line.count < line.most + PASTE_ENDS_BYTES:
        line.characters += not continues(line.slot.data[line.count])
        line.count += 1
    else:
        line.slot.data[line.count] = 0
        line.too_long = True


cdef void line_paste(line_t *line) noexcept:
    """A byte of pasted text, which is kept whatever it is. Line ends at the end of it are not the user's."""
    cdef unsigned char byte = line.slot.data[line.count]
    cdef Py_ssize_t count
    line.paste_ends = line.paste_ends + 1 if byte == <unsigned char>PASTE_ENDS[line.paste_ends] else byte == ESCAPE
    if byte == c"\r":
        line.slot.data[line.count] = c"\n"
    line_keep(line)
    if line.paste_ends < PASTE_ENDS_BYTES:
        return
    count = max(line.count - PASTE_ENDS_BYTES, line.paste)
    while count > line.paste and line.slot.data[count - 1] == c"\n":
        count -= 1
    line_cut(line, count)
    line.paste, line.paste_ends = -1, 0


cdef void line_key(line_t *line) noexcept:
    """A byte of what a key sends that types no character: it is dropped."""
    cdef unsigned char byte = line.slot.data[line.count]
    line.slot.data[line.count] = 0
    if line.key == KEY_BEGINS:
        line.key = KEY_WITH_NUMBERS if byte == c"[" else KEY_OF_ONE if byte == c"O" else NO_KEY
        line.number = 0
    elif line.key == KEY_OF_ONE:
        line.key = NO_KEY
    elif c"0" <= byte <= c"9":
        line.number = (line.number * 10 + byte - c"0") % 10_000
    elif c"@" <= byte <= c"~":
        line.key = NO_KEY
        if byte == c"~" and line.number == PASTE_BEGINS:
            line.paste = line.count


cdef step_t line_take(line_t *line) noexcept:
    """Judge the byte behind the line, which was typed."""
    cdef unsigned char byte = line.slot.data[line.count]
    if line.paste >= 0:
        line_paste(line)
        return GO_ON
    if line.key != NO_KEY:
        line_key(line)
        return GO_ON
    if byte == c"\n" or byte == c"\r" or byte != 0 and byte == line.end:
        line.slot.data[line.count] = 0
        return INPUT_ENDS if byte == line.end and line.count == 0 and not line.too_long else LINE_ENDS
    if byte == ESCAPE:
        line.slot.data[line.count] = 0
        line.key = KEY_BEGINS
    elif byte != 0 and byte == line.erase or byte == 127 or byte == 8:
        line_erase(line)
    elif byte != 0 and byte == line.erase_word:
        line_erase_word(line)
    elif byte != 0 and byte == line.erase_all:
        line_cut(line, 0)
        line.too_long = False
    else:
        line_keep(line)
    return GO_ON


cdef int line_begin(line_t *line, Py_ssize_t most, Heap heap) except -1:
    memset(line, 0, sizeof(line_t))
    line.most = most
    line.paste = -1
    return source_zeros(&line.slot, LINE_BYTES_FIRST, heap, False)


cdef int line_read(line_t *line, int fd, Heap heap) except -1:
    """One byte, to behind the line; 0 at the end of the input."""
    if line.count == line.slot.size:
        source_resize(&line.slot, line.slot.size * 2, heap)
    return file_read(fd, line.slot.data + line.count, 1)


# --- where it comes from ---

cdef int type_line(line_t *line, Terminal terminal, Heap heap) except -1:
    cdef step_t step = GO_ON
    line.erase, line.erase_word, line.erase_all, line.end = terminal.keys()
    try:
        while step == GO_ON:
            terminal.wait()
            step = line_take(line) if line_read(line, terminal.fd, heap) else INPUT_ENDS
            terminal.mark(line.characters)
    except OSError as error:
        if error.errno != EIO:  # what a terminal that was hung up answers
            raise
        step = INPUT_ENDS
    if step == INPUT_ENDS:
        raise EOFError("no line was typed")
    return 0


cdef int pipe_line(line_t *line, Heap heap) except -1:
    """Read standard input up to a line end, and not one byte more: the rest is for others."""
    while not line.too_long and line_read(line, STANDARD_INPUT, heap):
        if line.slot.data[line.count] == c"\n":
            line_cut(line, line.count - (line.count > 0 and line.slot.data[line.count - 1] == c"\r"))
            return 0
        line_keep(line)
    if line.count == 0:
        raise EOFError("standard input has ended")
    return 0


cdef SecureBytes make_line(Terminal terminal, str prompt, Py_ssize_t most, Heap heap):
    """Of the terminal, or of standard input for None."""
    cdef line_t line
    line_begin(&line, most, heap)
    try:
        if terminal is None:
            pipe_line(&line, heap)
        else:
            terminal.ask(prompt)
            type_line(&line, terminal, heap)
        if line.too_long or line.count > most:
            raise ValueError(f"the line has more than {most} bytes")
        source_resize(&line.slot, line.count, heap)
    except BaseException:
        heap_free(line.slot.data)
        raise
    return securebytes_of(&line.slot, heap, False)


cdef int open_terminal() except -1:
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(
            error.errno, "there is no terminal to ask at; stdin=True reads a line of standard input") from None


def from_prompt(prompt="Password: ", *, confirm=None, mask="", bint stdin=False, max_size=4096, heap=None):
    """A line typed at the terminal, which does not show it, read byte by byte straight into secret pages.

    Keys: those of the terminal for erasing a character (of UTF-8), a word and all; Ctrl-D ends the input where nothing
    was typed. Pasted text may have line ends within, where the terminal marks it as pasted. Signals (Ctrl-C, Ctrl-Z,
    ...) do what they always do, the terminal restored before.

    Parameters
    ----------
    prompt : what to show
    confirm : ask again, with this prompt, for the same
    mask : a character to show for each one typed
    stdin : read standard input: from a terminal, else up to the next line end, without a prompt
    max_size : refuse a line of more bytes

    Raises
    ------
    OSError : there is no terminal
    EOFError : the input has ended
    ValueError : the line is longer than `max_size`, or the confirmation differs

    Notes
    -----
    What was typed before the prompt is dropped, and so is what is left when the line has ended. The kernel's buffer of
    the terminal had the bytes. Standard input is read past ``sys.stdin``, which may have read ahead before.

    Thread safety: one prompt at a time. In another thread than the main one, a signal that ends the process leaves the
    terminal silent.
    """
    cdef Heap where = heap_or_default(heap)
    cdef Py_ssize_t most = min(index_size(max_size), PY_SSIZE_T_MAX - PASTE_ENDS_BYTES)
    cdef Terminal terminal
    cdef SecureBytes line
    for text in (prompt, mask, "" if confirm is None else confirm):
        if not isinstance(text, str):
            raise TypeError(f"prompt, confirm and mask are str, not {type(text).__name__}")
    if len(mask) > 1 or not (mask.isascii() and (mask + "x").isprintable()):
        raise ValueError("mask is one printable ASCII character, or none")
    if stdin and not os.isatty(STANDARD_INPUT):
        if confirm is not None:
            raise ValueError("only a terminal can be asked for confirmation")
        return make_line(None, prompt, most, where)
    fd = STANDARD_INPUT if stdin else open_terminal()
    try:
        terminal = Terminal(fd, STANDARD_ERROR if stdin else fd, mask.encode())
        with terminal:
            line = make_line(terminal, prompt, most, where)
            if confirm is not None and line != make_line(terminal, confirm, most, where):
                raise ValueError("what was typed the second time differs")
    finally:
        if not stdin:
            os.close(fd)
    return line


securebytes_add_methods((staticmethod(from_prompt),))
