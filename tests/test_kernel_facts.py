"""What the kernel promises of secret pages, asked of a bare memfd_secret(2) and of our own pages alike.

The attacks of `tests/attacks/` are about our objects alone; here is what the kernel's own selftest asks besides.
"""
import ctypes
import errno
import mmap
import os

import pytest
from support import capi
from support.children import succeed

from secalloc import Heap, SecureBytes

libc = ctypes.CDLL(None, use_errno=True)


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


@pytest.fixture
def descriptor():
    fd = libc.syscall(447, os.O_CLOEXEC)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    os.ftruncate(fd, mmap.PAGESIZE)
    yield fd
    os.close(fd)


def vmsplice(address, size):
    """How many bytes a pipe takes over from memory, without a copy; or the errno, negative."""
    read_end, write_end = os.pipe()
    vector = Vector(address, size)
    count = libc.vmsplice(write_end, ctypes.byref(vector), ctypes.c_size_t(1), 0)
    code = ctypes.get_errno()
    os.close(read_end)
    os.close(write_end)
    return count if count >= 0 else -code


@pytest.mark.parametrize(
    "call",
    [
        lambda fd: os.read(fd, 64),
        lambda fd: os.write(fd, bytes(64)),
        lambda fd: os.pread(fd, 64, 0),
        lambda fd: os.pwrite(fd, bytes(64), 0),
    ],
    ids=["read", "write", "pread", "pwrite"],
)
def test_a_descriptor_of_secret_memory_allows_no_file_operation(descriptor, call):
    with pytest.raises(OSError, match=r"Invalid argument|Illegal seek"):
        call(descriptor)
    with mmap.mmap(descriptor, mmap.PAGESIZE) as page:  # the control: it is a good one
        page[0] = 1


def test_a_descriptor_of_other_memory_allows_them():
    """The positive control."""
    with os.fdopen(os.memfd_create("other"), "r+b", buffering=0) as file:
        assert os.write(file.fileno(), b"x" * 64) == 64
        assert os.pread(file.fileno(), 64, 0) == b"x" * 64


@pytest.mark.parametrize("size", [32, 4_096, 100_000])
@pytest.mark.parametrize("page", ["fresh", "existing"])
def test_no_pipe_takes_over_a_secret_page(size, page):
    """vmsplice(2) has looked for a page's address on a fast path of its own, and found fresh ones."""
    key = SecureBytes(size, heap=Heap("facts", backend="secretmem"))
    address = capi.address_of(key)
    if page == "fresh":
        key[:] = b"x" * size
    else:
        assert key == bytes(size)
    assert vmsplice(address, size) == -errno.EFAULT
    other = ctypes.create_string_buffer(size)
    assert vmsplice(ctypes.addressof(other), size) > 0  # the positive control


def test_the_memlock_limit_holds_for_a_bare_mapping():
    succeed(
        """
        import ctypes, mmap, os
        from support import hostile
        hostile.become_ordinary_user()
        hostile.limit("RLIMIT_MEMLOCK", 1 << 20)
        fd = hostile.libc.syscall(447, os.O_CLOEXEC)
        os.ftruncate(fd, 4 << 20)
        mmap.mmap(fd, 1 << 20).close()
        try:
            mmap.mmap(fd, 2 << 20)
            raise SystemExit("not refused")
        except OSError as error:
            assert error.errno == 11, error
        """
    )
