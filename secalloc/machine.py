"""The machine and the software that something was measured on."""
from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import secalloc
from secalloc_ext.heapobject import DEFAULT
from secalloc_ext.loops import COMPILER

__all__ = ["describe"]


def _processor() -> str:
    with open("/proc/cpuinfo") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def _memory() -> str:
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def describe() -> dict[str, str]:
    """By name, in the order in which to tell it. `compiler`: of the extension."""
    return {
        "CPU": _processor(),
        "memory": _memory(),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "compiler": COMPILER,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": _package("numpy"),
        "secalloc": f"{secalloc.__version__}, backend {DEFAULT.backend}",
    }
