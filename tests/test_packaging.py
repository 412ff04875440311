"""What an extension of somebody else's finds in the installed package."""
import subprocess
import sys
from pathlib import Path

import secalloc_ext

SOURCE = """
# cython: language_level=3
from secalloc_ext.api cimport secalloc_free, secalloc_malloc, secalloc_owns

def try_it():
    cdef char *p
    with nogil:
        p = <char *>secalloc_malloc(32)
        p[31] = 1
    owned = secalloc_owns(p), secalloc_owns(&owned_not)
    with nogil:
        secalloc_free(p)
    return owned

cdef char owned_not
"""
BUILD = """
from setuptools import Extension, setup
setup(name="guest", ext_modules=[Extension("guest", ["guest.pyx"])], script_args=["-q", "build_ext", "--inplace"])
"""


def test_a_foreign_cython_module_cimports_the_c_api(tmp_path: Path) -> None:
    (tmp_path / "guest.pyx").write_text(SOURCE)
    for code in (BUILD, "import guest; print(guest.try_it())"):
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(True, False)"


def test_types_and_declarations_are_installed() -> None:
    folder = Path(secalloc_ext.__file__).parent
    assert {"py.typed", "prim.h", "api.pxd", "securebytes.pyi"} <= {path.name for path in folder.iterdir()}
