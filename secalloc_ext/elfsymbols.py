"""Functions of a shared library that it does not export, by the symbol table in its file; see elf(5)."""
from __future__ import annotations

import mmap
import os
import struct
from typing import NamedTuple

__all__ = ["Found", "functions"]

MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
SYMBOL_TABLE, FUNCTION = 2, 2
START_BYTES = 64


class Found(NamedTuple):
    """`offset`: of the function from where the library is loaded; `start`: its first bytes, as they are in the file."""

    offset: int
    start: bytes


def functions(path: str, names: tuple[bytes, ...]) -> dict[bytes, Found]:
    """Those of `names` that the file's symbol table has, each once; none, where it has no table.

    Raises
    ------
    OSError : the file cannot be read
    ValueError, struct.error : it is no ELF file of 64 bits
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as file:
            return _functions(file, names)
    finally:
        os.close(fd)


def _functions(file: mmap.mmap, names: tuple[bytes, ...]) -> dict[bytes, Found]:
    if file[: len(MAGIC)] != MAGIC:
        raise ValueError("no ELF file of 64 bits")
    header = HEADER.unpack_from(file)
    first, size, count = header[6], header[11], header[12]
    sections: list[tuple[int, ...]] = [SECTION.unpack_from(file, first + i * size) for i in range(count)]
    found: dict[bytes, Found] = {}
    for section in sections:
        if section[1] != SYMBOL_TABLE:
            continue
        text, text_size = sections[section[6]][4:6]
        wanted: dict[int, bytes] = {}
        for name in names:  # where each stands in the names' section, be it the end of a longer one
            at = file.find(name + b"\0", text, text + text_size)
            while at >= 0:
                wanted[at - text] = name
                at = file.find(name + b"\0", at + 1, text + text_size)
        symbols: list[tuple[int, ...]] = list(SYMBOL.iter_unpack(file[section[4] : section[4] + section[5]]))
        for name_at, kind, _, home, value, _ in symbols:
            if name_at in wanted and kind & 15 == FUNCTION and home < count:
                start = value - sections[home][3] + sections[home][4]
                found[wanted[name_at]] = Found(value, file[start : start + START_BYTES])
    return found
