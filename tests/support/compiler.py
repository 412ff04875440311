"""C files of the tests, compiled by the interpreter's own compiler."""
import os
import shlex
import subprocess
import sysconfig
from pathlib import Path


def shared_library(name, folder, *more):
    """``support/<name>.c`` as a library in `folder`, with CFLAGS as the core was, and `more`; its path."""
    path = Path(folder) / f"{name}.so"
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    flags = ["-O2", "-g", "-Wall", "-Wextra", "-Werror", *shlex.split(os.environ.get("CFLAGS", ""))]
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # a sanitizer's
    flags += [*more, "-shared", "-fPIC", "-pthread"]
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([*compiler, *flags, "-o", path, source], env=environment, check=True)
    return path
