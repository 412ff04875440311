"""The table of a report, for the document: a row for each expectation, a column for each kernel."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vm.command import REPORT
from vm.expectations import EXPECTATIONS, judged

__all__ = ["kept", "markdown"]


def kept(path: Path = REPORT) -> dict[str, Any]:
    """The report that was written last."""
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def markdown(report: dict[str, Any]) -> str:
    """Controls are marked so; what is not met is bold; a row that tells of no kernel is left out."""
    kernels = list(report["kernels"].values())
    columns = [judged(one) for one in kernels]
    lines = [
        "| | control | " + " | ".join(f"Linux {one['version'].partition('-')[0]}" for one in kernels) + " |",
        "| --- | --- | " + " | ".join("---" for _ in kernels) + " |",
    ]
    for i, each in enumerate(EXPECTATIONS):
        shown = [column[i][1] if column[i][2] else f"**{column[i][1]}**" for column in columns]
        if any(shown):
            cells = " | ".join(cell.replace("|", "\\|") for cell in shown)
            lines.append(f"| {each.row} | {'control' if each.control else ''} | {cells} |")
    return "\n".join(lines) + "\n"
