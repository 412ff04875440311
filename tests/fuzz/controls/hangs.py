"""C code that holds the GIL never answers, for an input with two certain letters."""
import ctypes


def check(data):
    if b"z" in data and b"Z" in data:
        ctypes.PyDLL(None).pause()
