"""docs/PROOF.md from what was measured, and the text beside this."""
import json
from pathlib import Path

from vm import report as vm_report

FOLDER = Path(__file__).parent
MEASURED = FOLDER / "measured" / "attacks.json"
DOCS = FOLDER.parent.parent / "docs" / "PROOF.md"


def measurements():
    return json.loads(MEASURED.read_text())


def keep(table):
    MEASURED.write_text(json.dumps(table, indent=1) + "\n")


def count(found, whose):
    return sum(name.startswith(whose) for name in found)


def cell(outcome):
    """Samples found of the ordinary object or the shared file, and of the secret one: of 3 each."""
    if outcome["skipped"]:
        return "not here" if "no /proc/kcore" in outcome["skipped"] else "refused"
    found = outcome["found"]
    return f"{max(count(found, 'ordinary'), count(found, 'shared'))} / {count(found, 'secret')}"


def attack_table(table):
    kinds = list(next(iter(next(iter(table["attackers"].values())).values())))
    lines = ["| attacker | attack | " + " | ".join(kinds) + " |", "| --- " * (len(kinds) + 2) + "|"]
    for attacker, rows in table["attackers"].items():
        for attack, cells in rows.items():
            lines.append(f"| {attacker} | {attack} | " + " | ".join(cell(cells[kind]) for kind in kinds) + " |")
    return "\n".join(lines)


def vm_table():
    kept = vm_report.kept()
    versions = kept["versions"]
    machine = f"QEMU {versions['emulator']}, {versions['memory in MiB']} MiB, Python {versions['python']}"
    told = [f"{machine}. Booted, in seconds:"]
    for one in kept["kernels"].values():
        boots = ", ".join(f"{name} {boot['seconds']:.0f}" for name, boot in one["boots"].items())
        told.append(f"- Linux {one['release']}: {boots}")
    return "\n".join(told) + "\n\n" + vm_report.markdown(kept).strip()


def document():
    table = measurements()
    text = (FOLDER / "text.md").read_text()
    text = text.replace("VERSIONS", f"Linux {table['versions'][0]}, Python {table['versions'][1]}")
    return text.replace("ATTACK_TABLE", attack_table(table)).replace("VM_TABLE", vm_table())


def write():
    DOCS.write_text(document())
