"""The rules of the core's sources: who may use whom, and what has no place below Python."""
import re
from pathlib import Path

import pytest

CORE = Path(__file__).parent.parent / "secalloc_ext"
# A file cimports only from files before it, and not from its neighbours in the same tuple.
ORDER = (
    ("prim", "sys"), ("rng",), ("mapping", "sizeclass"), ("chunk",), ("slot", "framelist"), ("slab", "large"),
    ("pieces",), ("cache",), ("fork", "audit"), ("heap",), ("api", "emergency"), ("errors",),
    ("heapobject",), ("arguments",), ("securebytes",), ("nep49",),
)  # fmt: skip
BELOW_PYTHON = {name for names in ORDER[:11] for name in names}
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
LINES_MAX, HEADER_LINES_MAX = 600, 60


def faults(name: str, suffix: str, text: str) -> list[str]:
    """What is wrong with the text of one source file."""
    found = []
    code = re.sub(r'"""(?:.|\n)*?"""', '""', text)
    code = re.sub(r"#.*", "", code)
    for used in re.findall(r"from secalloc_ext\.(\w+) c?import", code):
        if RANK[used] > RANK[name] or (RANK[used] == RANK[name] and used != name):
            found.append(f"uses {used}, which is not below it")
        if used == "sys" and name != "mapping":
            found.append("makes system calls")
    if name in BELOW_PYTHON:
        found += [f"{word} below Python" for word in re.findall(r"^\s*(raise|assert|try|except|import)\b", code, re.M)]
        for signature in re.findall(r"^cdef (?:inline )?(?:const )?\w+ \**\w+\([^)]*\)[^\n:]*", code, re.M):
            if "noexcept nogil" not in signature:
                found.append(f"not noexcept nogil: {signature.splitlines()[0]}")
    if suffix == ".pyx" and not text.startswith("# cython: language_level=3"):
        found.append("line 1 has no directives")
    if len(text.splitlines()) > LINES_MAX:
        found.append("more than one idea")
    if suffix == ".pxd" and (CORE / f"{name}.pyx").exists() and len(text.splitlines()) > HEADER_LINES_MAX:
        found.append("more than a header")
    return found


SOURCES = sorted(path for path in CORE.iterdir() if path.suffix in {".pyx", ".pxd"})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_source_keeps_the_rules(path: Path) -> None:
    assert faults(path.stem, path.suffix, path.read_text()) == []


def test_every_source_has_a_rank() -> None:
    assert {path.stem for path in SOURCES} | {"errors"} == set(RANK)


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("slab", "from secalloc_ext.heap cimport heap_alloc\n", "uses heap, which is not below it"),
        ("slab", "from secalloc_ext.large cimport large_free\n", "uses large, which is not below it"),
        ("heap", "from secalloc_ext.sys cimport mmap\n", "makes system calls"),
        ("heap", "cdef int f() nogil:\n    return 1\n", "not noexcept nogil: cdef int f() nogil"),
        ("heap", "cdef frame_t *f(size_t a,\n  int b):\n    pass\n", "not noexcept nogil: cdef frame_t *f(size_t a,"),
        ("heap", "cdef void f() noexcept nogil:\n    raise ValueError\n", "raise below Python"),
        ("heap", "import os\n", "import below Python"),
        ("heap", "x = 1\n" * 601, "more than one idea"),
    ],
)  # fmt: skip
def test_a_breach_is_found(name: str, text: str, fault: str) -> None:
    assert fault in faults(name, ".pyx", "# cython: language_level=3\n" + text)


def test_missing_directives_are_found() -> None:
    assert faults("api", ".pyx", "cdef int x\n") == ["line 1 has no directives"]
