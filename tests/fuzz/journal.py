"""What a fuzzing process tells about itself even if it dies: which example it was at, and that example's input.

A file of one size, mapped by both sides: writing takes no system call. ::

    examples 8 | valid 8 | behaviours 8 | length 8 | input, at most INPUT_BYTES_MAX
"""
import mmap
import os
import struct

HEAD = struct.Struct("<4Q")
INPUT_BYTES_MAX = 64 << 10


class Journal:
    def __init__(self, path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(descriptor, HEAD.size + INPUT_BYTES_MAX)
        self.pages = mmap.mmap(descriptor, HEAD.size + INPUT_BYTES_MAX)
        os.close(descriptor)

    def write(self, examples, valid, behaviours, data):
        assert len(data) <= INPUT_BYTES_MAX
        self.pages[HEAD.size : HEAD.size + len(data)] = data
        HEAD.pack_into(self.pages, 0, examples, valid, behaviours, len(data))

    def read(self):
        """Examples, valid ones, behaviours, and the last input."""
        *counts, length = HEAD.unpack_from(self.pages)
        return *counts, self.pages[HEAD.size : HEAD.size + length]
