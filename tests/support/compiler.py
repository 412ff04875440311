"""C files of the tests, compiled by the interpreter's own compiler."""
import shlex
import subprocess
import sysconfig
from pathlib import Path


def shared_library(name, folder):
    """``support/<name>.c`` as a library in `folder`; its path."""
    path = Path(folder) / f"{name}.so"
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([*compiler, "-O2", "-shared", "-fPIC", "-pthread", "-o", path, source], check=True)
    return path
