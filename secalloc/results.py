"""A bench run as files: `bench.json`, and `RESULTS.md` for people."""
from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from secalloc.bench import Report, Result, verdict
from secalloc.peers import Absent

__all__ = ["COLUMNS", "cells", "markdown", "write"]

COLUMNS = ("what", "against", "ours", "theirs", "ratio", "target", "must", "verdict")
WORDS = {
    "target": "target reached", "must": "within must", "missed": "MISSED", "skipped": "skipped", "failed": "FAILED",
}  # fmt: skip


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _factor(value: float) -> str:
    return f"{value:.2f}x" if value >= 0.1 else f"{value:.2g}x"


def cells(result: Result) -> list[str]:
    """A result as a line below `COLUMNS`; the ratio with its quartiles."""
    row, measured = result.row, result.measured
    sign = "≥" if row.more_is_better else "≤"
    goals = [f"{sign} {_factor(row.target)}", f"{sign} {_factor(row.must)}"]
    if measured is None:
        return [row.name, row.against, "", "", "", *goals, f"{WORDS[result.verdict]}: {result.failed or row.skipped}"]
    spread = f" ({_factor(measured.low)} to {_factor(measured.high)})" if measured.low != measured.high else ""
    return [row.name, row.against, f"{_amount(measured.ours)} {row.unit}", f"{_amount(measured.theirs)} {row.unit}",
            _factor(measured.ratio) + spread, *goals, WORDS[result.verdict]]  # fmt: skip


def _table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    def line(texts: Iterable[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in texts) + " |"

    return [line(columns), line("---" for _ in columns), *map(line, lines)]


def markdown(report: Report, plots: Sequence[str]) -> str:
    """`plots`: names of image files beside it, without their endings."""
    counts = [result.verdict for result in report.results]
    summary = ", ".join(f"{counts.count(each)} {WORDS[each]}" for each in WORDS if each in counts)
    text = [
        "# Results",
        "",
        "Made by `secalloc bench`. A ratio is ours / theirs: the median of rounds in which both were measured in turn, "
        f"with its quartiles; {report.effort.rounds} rounds. Of costs (ns, bytes) less is better, and a goal is `≤`; "
        "of bandwidth more is better, and a goal is `≥`.",
        "",
        f"{'Every `must` is met' if verdict(report.results) else 'NOT every `must` is met'}: {summary}.",
        "",
        *_table(("machine", ""), report.machine.items()),
        "",
        *_table(COLUMNS, map(cells, report.results)),
        "",
        "## Peers",
        "",
        *_table(("peer", "version", "file"), (
            (peer.name, "absent", peer.reason) if isinstance(peer, Absent) else (peer.name, peer.version, peer.path)
            for peer in report.peers)),
        "",
    ]  # fmt: skip
    if report.densities:
        limit = f"{report.effort.memlock >> 10:,} KiB"
        text += ["## Secrets of 32 bytes within a memlock limit of " + limit, "", *_table(("peer", "secrets"), (
            (each.name, f"absent: {each.reason}" if isinstance(each, Absent) else f"{each.secrets:,}")
            for each in report.densities)), ""]  # fmt: skip
    for curves in report.curves:
        xs = sorted({x for points in curves.points.values() for x, _ in points})
        lines = ([name, *(_amount(dict(points)[x]) if x in dict(points) else "" for x in xs)]
                 for name, points in curves.points.items())  # fmt: skip
        text += [f"## {curves.title}, ns", "", *_table((curves.x, *(f"{x:,}" for x in xs)), lines), ""]
        text += [f"- {name}: {reason}" for name, reason in curves.left_out.items()]
        text += [""] if curves.left_out else []
    if plots:
        text += ["## Plots", ""]
    for name in plots:
        text += [f"![{name}]({name}.svg)", ""]
    return "\n".join(text)


def write(report: Report, folder: Path, plots: Sequence[str]) -> None:
    (folder / "bench.json").write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
    (folder / "RESULTS.md").write_text(markdown(report, plots), encoding="utf-8")
