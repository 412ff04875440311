"""C and Cython files of the tests, compiled by the interpreter's own compiler."""
import os
import shlex
import shutil
import subprocess
import sys
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


SETUP = """
import sys, numpy
from setuptools import Extension, setup
name = sys.argv.pop()
setup(name=name, ext_modules=[Extension(name, [name + ".pyx"], include_dirs=[numpy.get_include()])],
      script_args=["-q", "build_ext", "--inplace"])
"""


def cython_module(name, folder):
    """``support/<name>.pyx`` as a module in `folder`, which may include numpy's headers."""
    shutil.copy(Path(__file__).with_name(f"{name}.pyx"), folder)
    done = subprocess.run([sys.executable, "-c", SETUP, name], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
