"""SecureBytes with the methods that have files of their own, each of which adds them when it is imported."""
from importlib import import_module

from secalloc_ext.securebytes import SecureBytes

__all__ = ["FILES", "SecureBytes"]

FILES = (
    "protection", "searching", "splitting", "trimming", "lettercase", "padding", "replacing", "joining", "hexadecimal",
    "waysout", "files", "environment", "sockets", "base64", "prompt", "revealparts", "revealcase",
    "reveal",
)  # fmt: skip
for _file in FILES:
    import_module(f"secalloc_ext.{_file}")
