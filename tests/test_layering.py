"""The rules of the core's sources: who may use whom, and what has no place below Python."""
import re
from collections import defaultdict
from pathlib import Path

import pytest

CORE = Path(__file__).parent.parent / "secalloc_ext"
# A file cimports only from files before it, and not from its neighbours in the same tuple.
ORDER = (
    ("prim", "sys"), ("rng",), ("mapping", "signals", "sizeclass", "frame"), ("chunk",),
    ("heaplock", "slot", "framelist"), ("slab", "large", "quarantine"), ("pieces", "revealpages"), ("prefault",),
    ("cache",), ("fork", "audit", "upkeep"), ("heap",), ("heaps",), ("api", "emergency", "guardreport"), ("errors",),
    ("heapobject", "revealtype"), ("arguments", "utf8"), ("sources", "needle"),
    ("securebytes", "loops", "revealforked"),
    ("protection", "searching", "splitting", "trimming", "lettercase", "padding", "replacing", "joining",
     "hexadecimal"),
    ("arraydata", "bitsource", "waysout", "revealedbytes", "revealedstr"),
    ("files", "environment", "sockets", "base64", "terminal", "residue", "windows"),
    ("elfsymbols",), ("openblas", "stock", "libcrypto"), ("scrub", "tlskeys"), ("nep49", "pep445", "prompt"),
    ("revealtext",), ("revealcodecs",), ("revealmethods",), ("revealparts", "revealcase"), ("reveal",),
)  # fmt: skip
BELOW_PYTHON = {name for names in ORDER[: ORDER.index(("errors",))] for name in names}
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
# Layer 1 makes the system calls; two files above it name one each that has nothing to do with memory.
SYSTEM_CALLS = defaultdict(set, {
    "sys": {"sys/mman.h", "sys/random.h", "sys/resource.h", "sys/syscall.h", "fcntl.h", "unistd.h"},
    "mapping": {"secalloc_ext.sys"},
    "signals": {"posix.signal", "signal.h"},
    "prefault": {"signal.h"},       # its thread takes none
    "emergency": {"posix.signal"},  # types
    "guardreport": {"posix.signal", "signal.h", "unistd.h"},  # types; write(2)
    "openblas": {"sys/mman.h"},  # mincore(2): which pages of a buffer were ever touched
    "files": {"unistd.h"},  # read(2), into secret pages
})  # fmt: skip
PYTHON_WORDS = r"\b(raise|assert|try|except|def|cpdef|class|with\s+gil)\b"
LINES_MAX, HEADER_LINES_MAX = 600, 60


def imports(code: str) -> list[tuple[str, str]]:
    """The keyword and the module of every import, `from secalloc_ext cimport x` and `from .x cimport y` spelled out."""
    found = [(word, name) for word, names in re.findall(r"^\s*(c?import)\s+([^\n]+)", code, re.M)
             for name in re.findall(r"[\w.]+(?=\s*(?:,|$|\bas\b))", names)]  # fmt: skip
    for package, word, names in re.findall(r"^\s*from\s+([\w.]+)\s+(c?import)\s+(\([^)]*\)|[^\n]*)", code, re.M):
        module = re.sub(r"^\.", "secalloc_ext.", package).rstrip(".")
        if module == "secalloc_ext":
            found += [(word, f"{module}.{name.split()[0]}") for name in names.strip("()").split(",") if name.strip()]
        else:
            found.append((word, module))
    return found


def system_calls(code: str, text: str) -> set[str]:
    """Where a source gets system calls from: modules, and headers that it includes."""
    modules = {name for _, name in imports(code) if name == "secalloc_ext.sys" or name.startswith("posix.")}
    return modules | set(re.findall(r"[<\"]((?:sys/\w+|unistd|fcntl|signal)\.h)[>\"]", text))


def faults(name: str, suffix: str, text: str) -> list[str]:
    """What is wrong with the text of one source file."""
    code = re.sub(r'"""(?:.|\n)*?"""', '""', text)
    code = re.sub(r'"[^"\n]*"', '""', re.sub(r"#.*", "", code))
    found = [f"makes system calls: {source}" for source in sorted(system_calls(code, text) - SYSTEM_CALLS[name])]
    for word, module in imports(code):
        used = module.removeprefix("secalloc_ext.")
        if used != module and (used not in RANK or (RANK[used] >= RANK[name] and used != name)):
            found.append(f"uses {used}, which is not below it")
        if word == "import" and name in BELOW_PYTHON:
            found.append("import below Python")
        if module.startswith("numpy") and name != "nep49":
            found.append("uses numpy")
        if module.startswith("cpython") and name in BELOW_PYTHON:
            found.append("uses Python's API below Python")
    if name in BELOW_PYTHON:
        found += [f"{word} below Python" for word in re.findall(PYTHON_WORDS, code)]
        for signature in re.findall(r"^cdef [^\n=:(]*\w\((?:[^()]|\([^()]*\))*\)[^\n:]*", code, re.M):
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
    assert {path.stem for path in SOURCES} | {"errors", "elfsymbols"} == set(RANK)


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("slab", "from secalloc_ext.heap cimport heap_alloc\n", "uses heap, which is not below it"),
        ("slab", "from secalloc_ext.large cimport large_free\n", "uses large, which is not below it"),
        ("slab", "from secalloc_ext cimport slot, heap\n", "uses heap, which is not below it"),
        ("slab", "from .heap cimport (\n    heap_alloc)\n", "uses heap, which is not below it"),
        ("slab", "cimport secalloc_ext.slot, secalloc_ext.heap as h\n", "uses heap, which is not below it"),
        ("slab", "from secalloc_ext.unheard_of cimport f\n", "uses unheard_of, which is not below it"),
        ("heap", "from secalloc_ext.sys cimport mmap\n", "makes system calls: secalloc_ext.sys"),
        ("heap", "from secalloc_ext cimport sys\n", "makes system calls: secalloc_ext.sys"),
        ("heap", "from posix.mman cimport mmap\n", "makes system calls: posix.mman"),
        ("heap", 'cdef extern from "<sys/mman.h>" nogil:\n    pass\n', "makes system calls: sys/mman.h"),
        ("emergency", "from posix.unistd cimport close\n", "makes system calls: posix.unistd"),
        ("securebytes", "cimport numpy\n", "uses numpy"),
        ("heap", "from cpython.mem cimport PyMem_Malloc\n", "uses Python's API below Python"),
        ("heap", "cdef unsigned long f(int a):\n    return 1\n", "not noexcept nogil: cdef unsigned long f(int a)"),
        ("heap", "cdef f():\n    pass\n", "not noexcept nogil: cdef f()"),
        ("heap", "cdef int f(int (*g)(int)) nogil\n", "not noexcept nogil: cdef int f(int (*g)(int)) nogil"),
        ("heap", "cdef void f() noexcept nogil:\n    if 1: raise ValueError\n", "raise below Python"),
        ("heap", "cdef void f() noexcept nogil:\n    with gil:\n        pass\n", "with gil below Python"),
        ("heap", "cpdef int f() noexcept nogil:\n    pass\n", "cpdef below Python"),
        ("heap", "cdef class Heap:\n    pass\n", "class below Python"),
        ("heap", "from os import path\n", "import below Python"),
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
