"""Measures what numpy leaves of secret arrays in ordinary memory, here, and writes docs/NUMPY.md.

`python tests/numpyleaks` does all operations with this Python, keeps what it found in tests/numpyleaks/measured, and
writes the document from all that is there; with a word, it prints the operations whose code holds it, and writes nothing.
"""
import json
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from numpyleaks import report
from numpyleaks.measuring import MODES, measured
from numpyleaks.operations import OPERATIONS


def found_by(name: str) -> dict[str, object]:
    return {mode: measured(name, mode) for mode in MODES}


def main(word: str = "") -> None:
    names = [name for name in OPERATIONS if word in name]
    with ThreadPoolExecutor(2) as pool:
        operations = {}
        for name, found in zip(names, pool.map(found_by, names), strict=True):
            operations[name] = found
            print(name, *(f"{mode}: {report.cell(found[mode])}" for mode in MODES), sep=" | ", flush=True)
    if word:
        return
    version = ".".join(platform.python_version_tuple()[:2])
    told = {"python": platform.python_version(), "numpy": np.__version__, "operations": operations}
    report.MEASURED.mkdir(exist_ok=True)
    (report.MEASURED / f"{version}.json").write_text(json.dumps(told, indent=1) + "\n")
    report.write()


if __name__ == "__main__":
    main(*sys.argv[1:])
