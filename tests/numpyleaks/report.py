"""docs/NUMPY.md from what was measured, one file of JSON for each Python."""
import json
from pathlib import Path

from numpyleaks.measuring import MODES, MOMENTS
from numpyleaks.operations import OPERATIONS

MEASURED = Path(__file__).resolve().parent / "measured"
DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "NUMPY.md"
TEXT = Path(__file__).resolve().parent / "text.md"
TITLES = {"ordinary": "ordinary arrays", "handler": "`secure_arrays()`", "scrub": "`scrub=True`", "scope": "`scope()`",
          "both": "`scope()`, `scrub=True`"}  # fmt: skip


def measurements():
    """By Python, oldest first."""
    files = sorted(MEASURED.glob("*.json"), key=lambda path: int(path.stem.partition(".")[2]))
    return {path.stem: json.loads(path.read_text()) for path in files}


def cell(found):
    """What is found of one operation in one mode: of each form, while it lives and afterwards."""
    live, after = (set(found[moment]) for moment in MOMENTS)
    parts = sorted(live | after, key=["input", "between", "result"].index)
    told = [part if part in live and part in after else f"{part} while it lives" if part in live else f"{part}, afterwards"
            for part in parts]  # fmt: skip
    return ", ".join(told) or "clean"


def cells(name, mode, measured):
    """The same for every Python, or which has what."""
    by_cell = {}
    for version, each in measured.items():
        if name in each["operations"]:
            by_cell.setdefault(cell(each["operations"][name][mode]), []).append(version)
    if len(by_cell) == 1:
        return next(iter(by_cell))
    return "; ".join(f"{', '.join(versions)}: {what}" for what, versions in by_cell.items())


def leaking(mode, each, moment):
    return sum(bool(found[mode][moment]) for found in each["operations"].values())


def table(measured):
    lines = [
        "| Python | numpy | operations | " + " | ".join(f"{TITLES[mode]}: leave a copy" for mode in MODES[1:]) + " |",
        "| --- | --- | --- | " + " | ".join("---" for _ in MODES[1:]) + " |",
    ]
    for each in measured.values():
        counts = [f"{leaking(mode, each, 'live')}, afterwards {leaking(mode, each, 'after')}" for mode in MODES[1:]]
        lines.append(f"| {each['python']} | {each['numpy']} | {len(each['operations'])} | {' | '.join(counts)} |")
    lines += ["", "| operation | " + " | ".join(TITLES[mode] for mode in MODES) + " | what keeps it |"]
    lines.append("| --- | " + " | ".join("---" for _ in MODES) + " | --- |")
    group = ""
    for name, operation in OPERATIONS.items():
        if operation.group != group:
            group = operation.group
            lines.append(f"| **{group}** |" + " |" * (len(MODES) + 1))
        found = [cells(name, mode, measured) for mode in MODES]
        why = operation.why if any(each != "clean" for each in found[1:]) else ""
        code = name.replace("|", "\\|")
        lines.append(f"| `{code}` | {' | '.join(found)} | {why} |")
    return "\n".join(lines)


def document(measured):
    return TEXT.read_text() + "\n" + table(measured) + "\n"


def write():
    DOCS.write_text(document(measurements()))
