"""A picture of heaps: chunks, slabs, guard pages, and how much of each slab is in use.

`draw` is text for a terminal, `svg` the same as an image. Both lay the pieces of a heap side by side in the order of
their addresses, to scale, one cell for so many bytes::

    0.25 MiB │48▓▓▓▓▓▓│ │528░░│52816│████│      chunk of one slab, chunk of three
             ^guard page      ^slots of 528 bytes, a quarter of them live

Taken while other threads use the heap, it is of no one moment.
"""
from __future__ import annotations

import random
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from xml.sax.saxutils import escape

from secalloc import Heap, SecureBytes
from secalloc_ext.heapobject import HeapPart, layouts

__all__ = ["ASCII", "UNICODE", "Glyphs", "draw", "example", "run", "svg"]

CELL_BYTES_MIN = 4096
CELL_BYTES_MAX = 128 << 10  # a frame: above, slabs get no narrower
STYLES = {r"[░▒▓█*#+]+": "cyan", r"[│|]": "red", "_+": "dim", "~+": "yellow", "heap '.*": "bold"}  # by characters
MARGIN = 13                 # columns of the offsets
LEGEND = ("slots live: {} up to all, 3/4, half, 1/4, none; {} no slab at present; "
          "{} freed large object, kept; {} guard page")  # fmt: skip

Layouts = Sequence[tuple[str, list[HeapPart]]]


class Glyphs(NamedTuple):
    """Characters; `shades` from no slot live to all."""

    guard: str
    shades: str
    piece: str
    kept: str


UNICODE = Glyphs("│", "·░▒▓█", "_", "~")
ASCII = Glyphs("|", ".-+*#", "_", "~")


class Run(NamedTuple):
    """Cells of one kind beside each other: of a part, or with None a guard page (1 cell) or a gap (0 bytes)."""

    part: HeapPart | None
    cells: int
    guard: bool = False


def shade_of(part: HeapPart) -> int:
    """0: no slot live, to 4: more than three quarters."""
    return -(-4 * part.live // part.slots) if part.slots else 0


def label_of(part: HeapPart) -> str:
    return {"slab": str(part.slot_bytes), "large": size_of(part.slot_bytes)}.get(part.kind, "")


def size_of(size: int) -> str:
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << power:
            amount = size / (1 << power)
            return f"{amount:.0f} {unit}" if amount >= 100 else f"{amount:.3g} {unit}"
    return f"{size} B"


# --- cells ------------------------------------------------------------------------------------------------------------

def cells_of(part: HeapPart, cell: int) -> int:
    return -(-part.bytes // cell)


def cell_bytes(parts: list[HeapPart], cells: int) -> int:
    """The smallest power of two for which all fit into so many cells, if any does."""
    cell = CELL_BYTES_MIN
    while cell < CELL_BYTES_MAX and sum(cells_of(part, cell) + 2 for part in parts) > cells:
        cell *= 2
    return cell


def runs_of(parts: list[HeapPart], cell: int) -> Iterator[Run]:
    for _, chunk in groupby(parts, lambda part: part.chunk):
        yield Run(None, 1, guard=True)
        for part in chunk:
            yield Run(part, cells_of(part, cell))
            yield Run(None, 1, guard=True)
        yield Run(None, 1)


def lines_of(runs: Iterator[Run], width: int) -> list[list[Run]]:
    """Break after `width` cells; a part may go on in the next line."""
    lines: list[list[Run]] = [[]]
    room = width
    for run in runs:
        left = run.cells
        while left:
            if room == 0:
                lines.append([])
                room = width
            taken = min(left, room)
            lines[-1].append(run._replace(cells=taken))
            left -= taken
            room -= taken
    return lines


def title_of(name: str, parts: list[HeapPart], cell: int) -> str:
    pages = sum(part.bytes for part in parts)
    live = sum(part.live * part.slot_bytes for part in parts)
    objects = sum(part.live for part in parts)
    return (f"heap {name!r}: {len({part.chunk for part in parts})} chunks, {size_of(pages)} of secret pages, {objects} "
            f"objects in {size_of(live)} ({live / pages:.0%}); a cell is {size_of(cell)}")  # fmt: skip


# --- text -------------------------------------------------------------------------------------------------------------

def text_of(run: Run, glyphs: Glyphs) -> str:
    if run.part is None:
        return glyphs.guard if run.guard else " "
    fill = {"piece": glyphs.piece, "kept": glyphs.kept}.get(run.part.kind, glyphs.shades[shade_of(run.part)])
    label = label_of(run.part)
    return (label if len(label) < run.cells else "").ljust(run.cells, fill)


def draw(heap: Heap | None = None, *, columns: int = 80, lines: int = 24, glyphs: Glyphs = UNICODE) -> str:
    """A heap, or with None all that have pages, as text of at most so many columns, and lines for each heap.

    What is beyond `lines` is left out in the middle, and said to be.
    """
    width = max(8, columns - MARGIN)
    pictures: list[str] = []
    for name, parts in _layouts(heap):
        if not parts:
            pictures.append(f"heap {name!r}: no pages")
            continue
        cell = cell_bytes(parts, lines * width)
        at, drawn = 0, list[str]()
        for line in lines_of(runs_of(parts, cell), width):
            at = next((run.part.start for run in line if run.part is not None), at)
            drawn.append(f"{at / 2**20:8.2f} MiB " + "".join(text_of(run, glyphs) for run in line).rstrip())
        if len(drawn) > lines:
            head, tail = lines // 2, lines - lines // 2
            drawn[head - 1 : -tail] = [f"{'...':>12} {len(drawn) - lines + 1} lines left out"]
        pictures.append("\n".join([*textwrap.wrap(title_of(name, parts, cell), columns), *drawn]))
    legend = LEGEND.format(glyphs.shades[::-1], glyphs.piece, glyphs.kept, glyphs.guard)
    return "\n\n".join([*pictures, "\n".join(textwrap.wrap(legend, columns))])


def _layouts(heap: Heap | None) -> Layouts:
    return layouts() if heap is None else [(heap.name, heap.layout())]


# --- image ------------------------------------------------------------------------------------------------------------

COLOURS = ("#eef3f6", "#c3dbe8", "#86b8d3", "#3f8ab3", "#0b5a86")  # of the shades
CELL_X, CELL_Y, LINE_Y, TEXT_Y, EDGE = 8, 18, 26, 13, 12
COLUMNS = 128


def svg(heap: Heap | None = None) -> str:
    """The same as an SVG image. Each part tells about itself where it is pointed at."""
    body: list[str] = []
    top = EDGE
    for name, parts in _layouts(heap):
        cell = cell_bytes(parts, 40 * COLUMNS)
        title = title_of(name, parts, cell) if parts else f"heap {name!r}: no pages"
        body.append(f'<text x="{EDGE}" y="{top + TEXT_Y}" class="title">{escape(title)}</text>')
        top += LINE_Y
        for line in lines_of(runs_of(parts, cell), COLUMNS):
            left = EDGE
            for run in line:
                body += _shapes(run, left, top)
                left += run.cells * CELL_X
            top += LINE_Y
        top += LINE_Y
    body += _legend(top)
    width, height = 2 * EDGE + COLUMNS * CELL_X, top + LINE_Y + EDGE
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        "<style>text { font: 11px sans-serif; fill: #222 } .title { font-weight: bold } .dark { fill: #fff }</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>', *body, "</svg>", "",
    ])  # fmt: skip


def _box(left: int, top: int, width: int, colour: str, told: str = "") -> str:
    shape = f'<rect x="{left}" y="{top}" width="{width}" height="{CELL_Y}" fill="{colour}"'
    return f"{shape}><title>{escape(told)}</title></rect>" if told else f"{shape}/>"


def _colour(part: HeapPart) -> str:
    return {"piece": "#e2e2e2", "kept": "#f0d9a8"}.get(part.kind, COLOURS[shade_of(part)])


def _shapes(run: Run, left: int, top: int) -> list[str]:
    if run.part is None:
        return [_box(left + 2, top, CELL_X - 4, "#b03a2e")] if run.guard else []
    part = run.part
    told = f"{part.kind}, {size_of(part.bytes)} at {size_of(part.start)}"
    if part.kind == "slab":
        told += f": {part.live} of {part.slots} slots of {part.slot_bytes} bytes live, {part.taken} in caches"
    shapes = [_box(left, top, run.cells * CELL_X, _colour(part), told)]
    label = label_of(part)
    if label and len(label) < run.cells:
        dark = ' class="dark"' if shade_of(part) > 2 else ""
        shapes.append(f'<text x="{left + 3}" y="{top + TEXT_Y}"{dark}>{escape(label)}</text>')
    return shapes


def _legend(top: int) -> list[str]:
    kinds = [*zip(COLOURS, ("no slot live", "1/4", "half", "3/4", "all"), strict=True),
             ("#e2e2e2", "no slab at present"), ("#f0d9a8", "freed large object, kept"), ("#b03a2e", "guard page")]
    left, shapes = EDGE, list[str]()
    for colour, meaning in kinds:
        shapes.append(_box(left, top, 2 * CELL_X, colour))
        shapes.append(f'<text x="{left + 20}" y="{top + TEXT_Y}">{escape(meaning)}</text>')
        left += 34 + 7 * len(meaning)
    return shapes


# --- heaps to show ----------------------------------------------------------------------------------------------------

def example() -> tuple[Heap, list[SecureBytes]]:
    """A heap as a server may have it: many keys, some of them gone, passwords, a few large objects."""
    rng = random.Random(4)
    heap = Heap("example")
    keys = [SecureBytes(32, heap=heap) for _ in range(4_000)]
    keys = rng.sample(keys, 2_200) + [SecureBytes(rng.randint(8, 1_200), heap=heap) for _ in range(400)]
    keys += [SecureBytes(size, heap=heap) for size in (20_000, 150_000, 60_000)]
    del keys[-1]
    return heap, keys


def run(script: str, arguments: Sequence[str]) -> tuple[str | int | None, ModuleType]:
    """Run a script as the program that it is; answers its exit status, and its module, which holds its objects."""
    module = ModuleType("__main__")
    module.__file__ = script
    sys.modules["__main__"] = module
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    try:
        exec(compile(Path(script).read_bytes(), script, "exec"), module.__dict__)
    except SystemExit as end:
        return end.code, module
    return None, module
