"""A Python program run in this process, as the interpreter would run it."""
from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

__all__ = ["is_program", "run"]


def is_program(arguments: Sequence[str]) -> bool:
    """Whether `run` takes it: a path, or -m or -c with what belongs to it."""
    if arguments and arguments[0] in ("-m", "-c"):
        return len(arguments) > 1
    return bool(arguments) and not arguments[0].startswith("-")


def run(arguments: Sequence[str]) -> None:
    """``PROGRAM.py ARGUMENT...``, ``-m MODULE ARGUMENT...`` or ``-c CODE ARGUMENT...``. Ends as the program does."""
    first, *rest = arguments
    if first == "-m":
        module, *rest = rest
        sys.argv = [first, *rest]
        _come_from(os.getcwd())
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    elif first == "-c":
        code, *rest = rest
        sys.argv = [first, *rest]
        _come_from("")
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
    else:
        sys.argv = [first, *rest]
        _come_from(os.path.dirname(os.path.abspath(first)))
        runpy.run_path(first, run_name="__main__")


def _come_from(folder: str) -> None:
    """Where a program's modules are looked for first; with `python -P`, nowhere of its own."""
    if not sys.flags.safe_path:
        sys.path[0] = folder
