"""Tables and pictures on standard output: drawn by rich where it is installed, else plain text."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

__all__ = ["Cell", "can_draw", "plain_table", "print_coloured", "print_table", "progress", "progress_bytes"]

Item = TypeVar("Item")

STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}
PIPE_COLUMNS = 160  # the width where there is no terminal and no COLUMNS


class Cell(NamedTuple):
    """`state` gives the colour: "ok", "warning", "problem" or none."""

    text: str
    state: str = ""


def plain_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """The table as text without colours or frames."""
    texts = [list(columns), *([cell.text for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    texts.insert(1, ["-" * width for width in widths])
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in texts)
    return "\n".join([title, *lines])


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        print(plain_table(title, columns, rows))
        return
    console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_COLUMNS)
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell.text, STYLES.get(cell.state, "")) for cell in row))  # Text: brackets are no markup
    console.print(table)


def can_draw() -> bool:
    """Whether standard output takes characters beyond ASCII."""
    return (sys.stdout.encoding or "").lower().startswith("utf")


def print_coloured(text: str, styles: Mapping[str, str]) -> None:
    """Print text as it is, with what matches each regular expression in its style, where there are colours."""
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        print(text)
        return
    coloured = Text(text)
    for pattern, style in styles.items():
        coloured.highlight_regex(pattern, style)
    Console(soft_wrap=True).print(coloured)


def progress(items: Sequence[Item], name_of: Callable[[Item], str]) -> Iterator[Item]:
    """The items, with a bar on standard error where that is a terminal. Nothing is drawn while an item is worked on."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        for item in items:
            print(name_of(item), file=sys.stderr)
            yield item
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task("", total=len(items))
        for item in items:
            bar.update(task, description=name_of(item), refresh=True)
            yield item
            bar.advance(task)


@contextmanager
def progress_bytes(name: str) -> Generator[Callable[[int, int], None] | None]:
    """A function to call with the bytes done and their number: draws a bar on standard error. None without rich
    or without a terminal."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield None
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name)
        yield lambda done, size: bar.update(task, completed=done, total=size)
