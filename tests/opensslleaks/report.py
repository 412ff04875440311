"""docs/OPENSSL.md from what was measured, one file of JSON for each Python, and the text beside this."""
import json
import platform
from pathlib import Path

from opensslleaks.measuring import STEPS

FOLDER = Path(__file__).parent
DOCS = FOLDER.parent.parent / "docs" / "OPENSSL.md"


def measurements():
    """By Python, oldest first."""
    files = sorted((FOLDER / "measured").glob("*.json"), key=lambda path: int(path.stem.partition(".")[2]))
    return {path.stem: json.loads(path.read_text()) for path in files}


def keep(versions, servers):
    version = ".".join(platform.python_version_tuple()[:2])
    (FOLDER / "measured").mkdir(exist_ok=True)
    told = {"versions": versions, "servers": servers}
    (FOLDER / "measured" / f"{version}.json").write_text(json.dumps(told, indent=1) + "\n")


def values(found):
    """The names of what was found, in either byte order."""
    return sorted({name.removesuffix(", little-endian") for name in found}, key=lambda name: (name.isupper(), name))


def cell(server, step, measured):
    """For every Python, or which has what."""
    by_cell = {}
    for version, each in measured.items():
        told = ", ".join(values(each["servers"][server][step])) or "0"
        by_cell.setdefault(told, []).append(version)
    if len(by_cell) == 1:
        return next(iter(by_cell))
    return "; ".join(f"{', '.join(versions)}: {what}" for what, versions in by_cell.items())


def copies(each, mode):
    """Values found, over all servers and steps of a mode."""
    return sum(
        len(values(found)) for name, steps in each["servers"].items() if name.endswith(mode) for found in steps.values()
    )


def table(measured):
    lines = ["| Python | OpenSSL | handshakes | values found without secalloc | with it |", "| --- " * 5 + "|"]
    for version, each in measured.items():
        row = version, *each["versions"], copies(each, "ordinary"), copies(each, "secalloc")
        lines.append(f"| {' | '.join(map(str, row))} |")
    lines += ["", "| key | " + " | ".join(STEPS) + " |", "| --- " * (len(STEPS) + 1) + "|"]
    for server in next(iter(measured.values()))["servers"]:
        lines.append(f"| {server} | " + " | ".join(cell(server, step, measured) for step in STEPS) + " |")
    return "\n".join(lines)


def document(measured):
    return (FOLDER / "text.md").read_text().replace("TABLE", table(measured))


def write():
    DOCS.write_text(document(measurements()))
