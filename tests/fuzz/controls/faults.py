"""The process dies of SIGSEGV for an input with two certain letters."""
import ctypes


def check(data):
    if b"z" in data and b"Z" in data:
        ctypes.string_at(8)
