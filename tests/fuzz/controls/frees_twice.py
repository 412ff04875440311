"""The allocator ends the process for an input with two certain letters."""
from support import capi


def check(data):
    pointer = capi.malloc(40)
    capi.free(pointer)
    if b"z" in data and b"Z" in data:
        capi.free(pointer)
