"""An object stays in the heap for an input with two certain letters."""
from secalloc import SecureBytes

kept = []


def check(data):
    if b"z" in data and b"Z" in data:
        kept.append(SecureBytes(b"kept"))
