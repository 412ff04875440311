"""The command line: ``secalloc`` and ``python -m secalloc``. Needs click; draws its tables with rich."""
from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import secalloc

try:
    import click
    from rich.console import Console
    from rich.table import Table
except ImportError:
    sys.exit("secalloc: the command line needs click and rich: pip install 'secalloc[cli]'")

STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; outside a terminal without colour, and as wide as it needs."""
    console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _styled(text: str, state: str) -> str:
    return f"[{STYLES[state]}]{text}[/]"


@click.group()
@click.version_option(secalloc.__version__, prog_name="secalloc")
def main() -> None:
    """Secret memory for Python."""


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Write the results as JSON.")
def demo(as_json: bool) -> None:
    """Attack a key, a password and an array in ordinary and in secret memory.

    Exits with 0 only if every attack that could run found the ordinary copies and no secret one.
    """
    from secalloc.demo import report, verdict

    rows = report()
    if as_json:
        click.echo(json.dumps([asdict(row) | {"passed": row.passed} for row in rows], indent=2))
        sys.exit(not verdict(rows))
    lines = []
    for row in rows:
        if row.skipped is not None:
            ordinary = secret = _styled(f"skipped: {row.skipped}", "warning")
        else:
            ordinary = "found: " + ", ".join(name.removeprefix("ordinary ") for name in row.ordinary)
            if row.missed:
                ordinary = _styled("not found: " + ", ".join(row.missed), "problem")
            names = ", ".join(name.removeprefix("secret ") for name in row.secret)
            secret = _styled("found: " + names, "problem") if row.secret else _styled("nothing", "ok")
        lines.append((row.attacker, row.attack, ordinary, secret))
    columns = ("attacker", "attack", "ordinary memory", "secret memory")
    _table("secalloc demo: what another process reads", columns, lines)
    sys.exit(not verdict(rows))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Write the findings as JSON.")
def check(as_json: bool) -> None:
    """Tell what this machine gives for secret memory, and what to change.

    Exits with 0 if secret memory can be used.
    """
    from secalloc.check import findings, usable, user

    rows = findings()
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        lines = [(row.name, _styled(row.state, row.state), row.value, row.advice) for row in rows]
        _table(f"secalloc check ({user()})", ("what", "state", "here", "what to do"), lines)
    sys.exit(not usable(rows))


if __name__ == "__main__":
    main()
