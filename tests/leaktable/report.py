"""A subject's document from what was measured, one file of JSON for each Python."""
import json

from leaktable.measuring import MOMENTS


def measurements(subject):
    """By Python, oldest first."""
    files = sorted((subject.FOLDER / "measured").glob("*.json"), key=lambda path: int(path.stem.partition(".")[2]))
    return {path.stem: json.loads(path.read_text()) for path in files}


def cell(found):
    """What is found of one operation in one mode: of each form, while it lives and afterwards."""
    live, after = (found[moment] for moment in MOMENTS)
    told = []
    for kind in sorted(live | after):
        when = "" if kind in live and kind in after else " while it lives" if kind in live else ", afterwards"
        told.append(kind + when)
    return ", ".join(told) or "clean"


def cells(name, mode, measured):
    """The same for every Python, or which has what."""
    by_cell = {}
    for version, each in measured.items():
        by_cell.setdefault(cell(each["operations"][name][mode]), []).append(version)
    if len(by_cell) == 1:
        return next(iter(by_cell))
    return "; ".join(f"{', '.join(versions)}: {what}" for what, versions in by_cell.items())


def leaking(mode, each, moment):
    """How many operations leave something."""
    return sum(bool(found[mode][moment]) for found in each["operations"].values())


def counts(subject, measured):
    modes = [mode for mode in subject.BLOCKS if mode != next(iter(subject.BLOCKS))]
    lines = [
        "| Python | operations | " + " | ".join(f"{subject.TITLES[mode]}: leak, afterwards" for mode in modes) + " |",
        "| --- | --- | " + " | ".join("---" for _ in modes) + " |",
    ]
    for each in measured.values():
        told = [f"{leaking(mode, each, 'live')}, {leaking(mode, each, 'after')}" for mode in modes]
        lines.append(f"| {each['versions']} | {len(each['operations'])} | {' | '.join(told)} |")
    return "\n".join(lines)


def table(subject, measured):
    modes = list(subject.BLOCKS)
    lines = ["| operation | " + " | ".join(subject.TITLES[mode] for mode in modes) + " | what keeps it |"]
    lines.append("| --- | " + " | ".join("---" for _ in modes) + " | --- |")
    group = ""
    for name, operation in subject.OPERATIONS.items():
        if operation.group != group:
            group = operation.group
            lines.append(f"| **{group}** |" + " |" * (len(modes) + 1))
        found = [cells(name, mode, measured) for mode in modes]
        why = operation.why if any(each != "clean" for each in found[1:]) else ""
        code = name.replace("|", "\\|")
        lines.append(f"| `{code}` | {' | '.join(found)} | {why} |")
    return "\n".join(lines)


def document(subject, measured):
    text = (subject.FOLDER / "text.md").read_text()
    return text.replace("COUNTS", counts(subject, measured)) + "\n" + table(subject, measured) + "\n"


def write(subject):
    subject.DOCS.write_text(document(subject, measurements(subject)))
