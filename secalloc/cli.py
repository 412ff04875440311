"""The command line: ``secalloc`` and ``python -m secalloc``. Needs click.

A command is a function below `main` that imports its subject itself, so that no command pays for another, and ends with
the exit status that its help promises.
"""
from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import secalloc
from secalloc.table import Cell, can_draw, print_coloured, print_table, progress, progress_bytes

try:
    import click
except ImportError:
    print("secalloc: the command line needs click: pip install 'secalloc[cli]'", file=sys.stderr)
    raise SystemExit(2) from None

if TYPE_CHECKING:
    from secalloc.bench import Report
    from secalloc.demo import Row

__all__ = ["main"]


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
    sys.exit(run_demo(as_json=as_json))


def run_demo(*, as_json: bool, careless: bool = False) -> int:
    """The exit status. `careless`: see `secalloc.demo.report`."""
    from secalloc.demo import report, verdict
    from secalloc.rounds import RoundError
    from secalloc_ext.heapobject import probe

    unavailable = probe()
    if unavailable is not None:
        click.echo(f"secalloc demo: {unavailable.args[-1]}", err=True)
        return 1
    try:
        rows = report(careless=careless)
    except RoundError as error:
        click.echo(f"secalloc demo: {error}", err=True)
        return 1
    if as_json:
        click.echo(json.dumps([row.as_json() for row in rows], indent=2))
    else:
        columns = ("attacker", "attack", "ordinary memory", "secret memory")
        print_table("secalloc demo: what attacks reach", columns, [_demo_line(row) for row in rows])
    return 0 if verdict(rows) else 1


def _demo_line(row: Row) -> list[Cell]:
    start = [Cell(row.attacker), Cell(row.attack)]
    if row.skipped is not None:
        return [*start, Cell(f"skipped ({row.skipped})", "warning"), Cell("skipped", "warning")]
    if row.failed is not None:
        return [*start, Cell(f"failed: {row.failed}", "problem"), Cell("not known", "problem")]
    found = "found: " + ", ".join(name.removeprefix("ordinary ") for name in row.ordinary)
    ordinary = Cell("not found: " + ", ".join(row.missed), "problem") if row.missed else Cell(found)
    leaked = ", ".join(name.removeprefix("secret ") for name in row.secret)
    if leaked:
        return [*start, ordinary, Cell(f"found: {leaked}", "problem")]
    return [*start, ordinary, Cell("nothing", "warning" if row.missed else "ok")]


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Write the findings as JSON.")
@click.option("--reserve", metavar="SIZE", help="Try whether there is as much, as 256 MiB; it takes 20 s a GiB.")
def check(as_json: bool, reserve: str | None) -> None:
    """Tell what this machine gives for secret memory, and what to change.

    Exits with 0 if secret memory can be used, and as much as SIZE, with 1 if not.
    """
    from dataclasses import asdict

    from secalloc.check import findings, reservation, usable, user
    from secalloc_ext.heapobject import parse_size

    try:
        size = parse_size(0 if reserve is None else reserve)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--reserve") from None
    rows = findings()
    if reserve is not None and usable(rows):
        with progress_bytes(f"reserve {reserve}") as advance:
            rows.append(reservation(size, advance))
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        lines = [[Cell(row.name), Cell(row.state, row.state), Cell(row.value), Cell(row.advice)] for row in rows]
        print_table(f"secalloc check ({user()})", ("what", "state", "here", "what to do"), lines)
    sys.exit(0 if usable(rows) else 1)


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--skip", multiple=True, metavar="NAME", help="Leave out a measure, by the name in the table.")
@click.option("--json", "as_json", is_flag=True, help="Write the measures as JSON.")
@click.argument("program", nargs=-1, type=click.UNPROCESSED)
def harden(skip: tuple[str, ...], as_json: bool, program: tuple[str, ...]) -> None:
    """Run a Python PROGRAM (a path, -m MODULE or -c CODE) in a process closed to others of its user.

    What could not be done is told on standard error, and the program is not run. Without a program: what can be done
    here, in a table. Exits with 1 if something could not be done, else as the program does.
    """
    from secalloc.harden import harden_process
    from secalloc.running import is_program, run

    if program and not is_program(program):
        raise click.BadParameter("neither a path nor -m MODULE nor -c CODE", param_hint="PROGRAM")
    try:
        measures = harden_process(skip=skip)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--skip") from None
    failed = [measure for measure in measures if not measure.done]
    if program:
        for measure in failed:
            click.echo(f"secalloc harden: {measure.name}: {measure.told}", err=True)
        if not failed:
            run(program)
    elif as_json:
        click.echo(json.dumps([measure._asdict() for measure in measures], indent=2))
    else:
        lines = [[Cell(name), Cell("done" if done else "not done", "ok" if done else "problem"), Cell(told)]
                 for name, done, told in measures]  # fmt: skip
        print_table("secalloc harden", ("measure", "state", "what that means"), lines)
    sys.exit(1 if failed else 0)


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--stdin", "by", flag_value="stdin", default="stdin",
              help="Feed the secret on standard input. The default.")  # fmt: skip
@click.option("--env", "by", flag_value="env", help="Give it in the environment variable NAME.")
@click.option("--file", "by", flag_value="file", help="In a file, whose path is in NAME, and {} in the command.")
@click.option("--name", default="SECRET", show_default=True, help="The environment variable.")
@click.option("--json", "as_json", is_flag=True, help="Write the findings as JSON.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def leaks(by: str, name: str, as_json: bool, command: tuple[str, ...]) -> None:
    """Run COMMAND with a secret made for it, and tell what it has of it in ordinary memory when it ends.

    Before, a program that keeps a copy is looked through as a control. Exits with 0 if nothing was found, with 1 if
    something was, with 2 if the program failed or nothing can be said.
    """
    from dataclasses import asdict

    from secalloc.leaks import Blind, control, program

    try:
        control()
        ended = program(list(command), by=by, name=name)
    except (Blind, OSError) as error:
        print(f"secalloc leaks: {error}", file=sys.stderr)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps({"status": ended.status, "leaks": [asdict(leak) for leak in ended.leaks]}, indent=2))
    elif ended.leaks:
        rows = [[Cell(leak.form), Cell(leak.area), Cell(str(leak.parts))] for leak in ended.leaks]
        print_table("the secret, at exit", ("form", "where", "places"), rows)
    else:
        click.echo("nothing of the secret was found at exit; the control was")
    if ended.status != 0:
        print(f"secalloc leaks: the command ended with {ended.status}", file=sys.stderr)
    sys.exit(2 if ended.status != 0 else 1 if ended.leaks else 0)


@main.command()
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default="bench", show_default=True,
              help="Folder for bench.json, RESULTS.md and the plots.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(2), help="Rounds of each measurement; 15, or 2 when quick.")
@click.option("--only", default="", metavar="PATTERN", help="Only what matches a regular expression, as in --list.")
@click.option("--list", "listing", is_flag=True, help="Tell what there is to measure, and measure nothing.")
@click.option("--quick", is_flag=True, help="Few rounds, small numbers: to see that it works, not how fast.")
@click.option("--no-plots", is_flag=True, help="Write no plots.")
def bench(output: Path, rounds: int | None, only: str, listing: bool, quick: bool, no_plots: bool) -> None:
    """Measure secalloc beside its peers, as ratios in one run. On an idle machine it takes three minutes.

    Exits with 0 if no row missed what it must reach, with 1 if one did, or broke for want of memory, as some do within
    the usual memlock limit: run it as root. Peers that are not there do not count.
    """
    from dataclasses import replace

    from secalloc.bench import FULL, QUICK, Report, steps, verdict
    from secalloc.results import COLUMNS, cells, write

    effort = QUICK if quick else FULL
    report = Report(replace(effort, rounds=rounds or effort.rounds))
    try:
        chosen = steps(report, only)
    except re.error as error:
        raise click.BadParameter(f"no regular expression: {error}", param_hint="--only") from None
    if listing:
        click.echo("\n".join(step.name for step in chosen))
        return
    if not chosen:
        raise click.BadParameter(f"nothing matches {only!r}; --list tells what there is", param_hint="--only")
    output.mkdir(parents=True, exist_ok=True)
    for step in progress(chosen, lambda step: step.name):
        step.run()
    lines = [[*map(Cell, texts[:-1]), Cell(texts[-1], STATES[result.verdict])]
             for result in report.results for texts in [cells(result)]]  # fmt: skip
    if lines:
        print_table("secalloc bench: a ratio is ours / theirs", COLUMNS, lines)
    write(report, output, [] if no_plots else _plots(report, output))
    click.echo(f"written to {output}")
    sys.exit(0 if verdict(report.results) else 1)


STATES = {"target": "ok", "must": "ok", "missed": "problem", "failed": "problem", "skipped": "warning"}


def _plots(report: Report, folder: Path) -> list[str]:
    try:
        from secalloc.plots import draw
    except ImportError as error:
        click.echo(f"no plots: {error}; pip install 'secalloc[bench]'", err=True)
        return []
    return draw(report, folder)


@main.command("map", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--svg", "svg_file", type=click.Path(dir_okay=False), help="Write the picture as an SVG image too.")
@click.argument("script", required=False, type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def map_(svg_file: str | None, script: str | None, arguments: tuple[str, ...]) -> None:
    """Draw the heaps of SCRIPT as they are at its end; without one, of an example.

    Exits with the script's own status. In a program of your own: print(secalloc.layout.draw(heap)).
    """
    from secalloc import layout

    status, kept = layout.run(script, arguments) if script else (None, layout.example())
    print_coloured(layout.draw(glyphs=layout.UNICODE if can_draw() else layout.ASCII), layout.STYLES)
    if svg_file:
        try:
            Path(svg_file).write_text(layout.svg(), encoding="utf-8")
        except OSError as error:
            raise click.FileError(svg_file, error.strerror) from None
    del kept
    sys.exit(status)


if __name__ == "__main__":
    main()
