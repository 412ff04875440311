"""Every attack on every kind of object, and docs/PROOF.md anew: `python tests/proof`, as root.

Beside it in the document: what `python tests/vm --write` measured inside booted kernels.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from proof import attacktable, report


def main():
    table = attacktable.measure()
    for attacker, rows in table["attackers"].items():
        for attack, cells in rows.items():
            print(attacker, attack, *(f"{kind}: {report.cell(cell)}" for kind, cell in cells.items()), sep=" | ")
    report.keep(table)
    report.write()


if __name__ == "__main__":
    main()
