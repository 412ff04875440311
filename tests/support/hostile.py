"""A machine that refuses: limits, missing privileges, missing system calls. For child processes: it cannot be undone.

Everything is imported here first: an interpreter below /root cannot be read any more after `become_ordinary_user`.
"""
import contextlib
import ctypes
import os
import resource

import secalloc  # noqa: F401

NOBODY = 65534
MEMFD_SECRET = 447
CAPABILITY_VERSION_3 = 0x20080522
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RETURN_ERRNO = 0x00050000
SECCOMP_RETURN_ALLOW = 0x7FFF0000
BPF_LOAD_WORD = 0x20
BPF_JUMP_IF_EQUAL = 0x15
BPF_RETURN = 0x06
PROT_NONE, PROT_READ = 0, 1
MAP_PRIVATE_ANONYMOUS_NORESERVE = 0x4022
MAP_SHARED_ANONYMOUS = 0x21  # each of these is a file of its own: two of them never become one mapping
FAILED = 2**64 - 1

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]


def become_ordinary_user():
    """Leave root, and CAP_IPC_LOCK with it."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    with open("/proc/self/status") as status:
        effective = next(line for line in status if line.startswith("CapEff:"))
    assert int(effective.split()[1], 16) == 0


def limit(name, soft):
    """Set a soft limit; the hard one stays."""
    which = getattr(resource, name)
    resource.setrlimit(which, (soft, resource.getrlimit(which)[1]))


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("first", ctypes.POINTER(_Instruction))]


def refuse(number, code):
    """Have a seccomp filter answer a system call with an errno, as a container's profile does."""
    instructions = (_Instruction * 4)(
        (BPF_LOAD_WORD, 0, 0, 0),  # the number of the system call
        (BPF_JUMP_IF_EQUAL, 0, 1, number),
        (BPF_RETURN, 0, 0, SECCOMP_RETURN_ERRNO | code),
        (BPF_RETURN, 0, 0, SECCOMP_RETURN_ALLOW),
    )
    program = _Program(4, instructions)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0) == 0


def refuse_memfd_secret(code):
    refuse(MEMFD_SECRET, code)


def use_up_protection_keys():
    """No heap gets one: they are locked by mprotect(2)."""
    while libc.pkey_alloc(0, 0) > 0:
        pass


class NoDescriptorLeft:
    """While entered, the process has all the descriptors open that RLIMIT_NOFILE allows."""

    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.taken = [os.open("/dev/null", os.O_RDONLY)]
        limit("RLIMIT_NOFILE", 64)
        with contextlib.suppress(OSError):
            while True:
                self.taken.append(os.dup(self.taken[0]))

    def __exit__(self, *exception):
        for fd in self.taken:
            os.close(fd)
        limit("RLIMIT_NOFILE", self.before)


class NoMappingLeft:
    """While entered, the process has as many mappings as vm.max_map_count allows; with `and_one_more` it has what
    mmap(2) allows beyond that, which then fails even where it would need none."""

    def __init__(self, and_one_more=False):
        self.and_one_more = and_one_more

    def __enter__(self):
        with open("/proc/sys/vm/max_map_count") as file:
            pages = 2 * int(file.read())
        self.bytes = pages * 4096
        self.first = libc.mmap(None, self.bytes, PROT_NONE, MAP_PRIVATE_ANONYMOUS_NORESERVE, -1, 0)
        address = self.first
        while libc.mprotect(address, 4096, PROT_READ) == 0:  # each second page: two mappings more
            address += 8192
        assert address < self.first + self.bytes
        while self.and_one_more and not self.is_full():
            pass
        return self

    @staticmethod
    def is_full():
        """Whether no mapping more is to be had, by taking one; Python itself may give one back at any time."""
        return libc.mmap(None, 4096, PROT_READ, MAP_SHARED_ANONYMOUS, -1, 0) == FAILED

    def __exit__(self, *exception):
        assert libc.munmap(self.first, self.bytes) == 0
