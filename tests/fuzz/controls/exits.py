"""The process ends, as if nothing had been, for an input with two certain letters."""
import os


def check(data):
    if b"z" in data and b"Z" in data:
        os._exit(0)
