"""`python -m secalloc.openssl`: programs that cannot be changed, with OpenSSL's memory on secret pages."""
from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from secalloc.running import is_program, run

__all__ = ["main"]

USAGE = """\
usage: python -m secalloc.openssl [--cryptography] [--fork-warning] PROGRAM.py [ARGUMENT...]
       python -m secalloc.openssl [...] -m MODULE [ARGUMENT...]
       python -m secalloc.openssl [...] -c CODE [ARGUMENT...]
       python -m secalloc.openssl --status
       python -m secalloc.openssl --write-hook [FOLDER]
       python -m secalloc.openssl --remove-hook [FOLDER]

Runs a Python program as python itself would, with all that the OpenSSL of `ssl` and `hashlib` allocates on secret
pages. --write-hook has every start of this Python do so for which SECALLOC_OPENSSL=1 is set, by a file of one line in
the folder of its packages. secalloc writes it only when asked to in this way.
"""
HOOK = "secalloc_openssl.pth"
# What Python runs at each start: as little as can be, unless it is asked for. Then it must not go on without: what a
# line of such a file raises, Python only prints.
HOOK_CODE = """\
try:
    from secalloc.openssl import install
    install()
except BaseException as error:
    os.write(2, f"SECALLOC_OPENSSL=1: {error}\\n".encode())
    os._exit(1)
"""
HOOK_TEXT = f'import os; os.environ.get("SECALLOC_OPENSSL") == "1" and exec({HOOK_CODE!r})\n'
WRONG_USE = 2


def _status() -> int:
    from secalloc.openssl import status

    for each in status().libraries:
        print(f"{each.needed_by}: {each.version}, {each.path}: {'routed' if each.routed else 'not routed'}")
    return 0


def _hook(write: bool, folder: str) -> int:
    path = Path(folder or sysconfig.get_path("purelib")) / HOOK
    if write:
        path.write_text(HOOK_TEXT)
        print(f"{path} written: with SECALLOC_OPENSSL=1, this Python has OpenSSL's memory on secret pages")
    else:
        path.unlink()
        print(f"{path} removed")
    return 0


def main() -> int:
    """The command: see USAGE."""
    arguments = sys.argv[1:]
    options: dict[str, bool] = {}
    while arguments and arguments[0] in ("--cryptography", "--fork-warning"):
        options[arguments.pop(0)[2:].replace("-", "_")] = True
    if not options and arguments[:1] == ["--status"] and len(arguments) == 1:
        return _status()
    if not options and arguments[:1] in (["--write-hook"], ["--remove-hook"]) and len(arguments) <= 2:
        return _hook(arguments[0] == "--write-hook", arguments[1] if len(arguments) == 2 else "")
    if not is_program(arguments):
        print(USAGE, file=sys.stderr, end="")
        return WRONG_USE
    from secalloc import SecallocError
    from secalloc.openssl import install

    try:
        install(**options)
    except (SecallocError, OSError) as error:
        print(f"secalloc: {error}", file=sys.stderr)
        return 1
    run(arguments)
    return 0
