"""Functions that a library does not export, by the symbol table of its file."""
import ctypes
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from support.compiler import shared_library

from secalloc_ext.elfsymbols import functions

NAMES = (b"hidden_answer", b"seen_answer", b"no_such_function")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return shared_library("hidden", tmp_path_factory.mktemp("hidden"), "-fno-ipa-cp", "-fno-ipa-sra")


def test_a_function_is_found_where_it_is_loaded_exported_or_not(library):
    found = functions(str(library), NAMES)
    assert set(found) == {b"hidden_answer", b"seen_answer"}
    loaded = ctypes.CDLL(library)
    with pytest.raises(AttributeError):
        loaded.hidden_answer  # noqa: B018
    seen = ctypes.cast(loaded.seen_answer, ctypes.c_void_p).value
    base = seen - found[b"seen_answer"].offset
    assert base % 4096 == 0
    hidden = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(base + found[b"hidden_answer"].offset)
    assert hidden(20) == 41
    for function in found.values():
        assert ctypes.string_at(base + function.offset, len(function.start)) == function.start


def test_a_name_that_the_linker_keeps_as_the_end_of_another_is_found(library):
    assert b"\0hidden_answer\0" not in library.read_bytes()
    found = functions(str(library), (b"hidden_answer", b"un_hidden_answer", b"answer"))
    assert set(found) == {b"hidden_answer", b"un_hidden_answer"}
    assert found[b"hidden_answer"] != found[b"un_hidden_answer"]


def test_a_file_without_its_table_has_none(library, tmp_path):
    stripped = tmp_path / "stripped.so"
    subprocess.run(["strip", "-o", stripped, library], check=True)
    assert functions(str(stripped), NAMES) == {}


def test_what_is_no_library_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        functions(str(tmp_path / "nothing"), NAMES)
    with pytest.raises(ValueError, match="mmap"):
        functions("/dev/null" if Path("/dev/null").is_file() else str(empty(tmp_path)), NAMES)
    (tmp_path / "text").write_text("no library at all")
    with pytest.raises(ValueError, match="no ELF file"):
        functions(str(tmp_path / "text"), NAMES)


def empty(folder):
    (folder / "empty").touch()
    return folder / "empty"


def test_a_file_that_ends_early_is_an_error(library, tmp_path):
    whole = library.read_bytes()
    for size in (10, 60, 100, len(whole) // 2, len(whole) - 100):
        (tmp_path / "part").write_bytes(whole[:size])
        with pytest.raises((ValueError, struct.error)):
            functions(str(tmp_path / "part"), NAMES)


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_library_whose_file_was_exchanged_is_not_trusted(tmp_path, exchanged):
    """numpy's own, in a copy of its package: when its code is not what was loaded, no buffer of it is wiped."""
    numpy = pytest.importorskip("numpy")
    folder = Path(numpy.__file__).parent
    if not list(folder.parent.glob("numpy.libs/libscipy_openblas*")):
        pytest.skip("this numpy has another BLAS")
    for name in ("numpy", "numpy.libs"):
        shutil.copytree(folder.parent / name, tmp_path / name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    code = """
import os, sys
sys.path.insert(0, sys.argv[1])
import numpy
from pathlib import Path
from secalloc_ext import openblas
assert numpy.__file__.startswith(sys.argv[1])
path = next(Path(sys.argv[1], "numpy.libs").glob("libscipy_openblas*"))
if sys.argv[2] == "True":
    data = bytearray(path.read_bytes())
    for name in (b"blas_memory_alloc", b"blas_memory_free"):
        from secalloc_ext.elfsymbols import functions
        start = functions(str(path), (name,))[name].start
        at = data.find(start)
        data[at] ^= 1
    path.unlink()
    path.write_bytes(data)
print(openblas.find())
"""
    command = [sys.executable, "-P", "-c", code, str(tmp_path), str(exchanged)]
    done = subprocess.run(command, capture_output=True, text=True)
    exports = hasattr(ctypes.CDLL(next(folder.parent.glob("numpy.libs/libscipy_openblas*"))), "blas_memory_alloc")
    assert done.stdout.strip() == ("1" if exports or not exchanged else "0"), done.stderr
