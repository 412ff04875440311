"""SecureBytes with the methods that have files of their own, each of which adds them when it is imported."""
from importlib import import_module

from secalloc_ext.securebytes import SecureBytes

__all__ = ["SecureBytes"]

for _file in ("waysout", "revealparts", "revealcase", "reveal"):
    import_module(f"secalloc_ext.{_file}")
