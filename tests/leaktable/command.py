"""The command of a subject: measures it here, keeps what was found, and writes the document from all that is kept."""
import json
import platform
from concurrent.futures import ThreadPoolExecutor

from leaktable import report
from leaktable.measuring import measured


def main(subject, word=""):
    """With a word, the operations whose code holds it are measured and printed, and nothing is written."""
    names = [name for name in subject.OPERATIONS if word in name]

    def found_by(name):
        return {mode: measured(subject, name, mode) for mode in subject.BLOCKS}

    with ThreadPoolExecutor(2) as pool:
        operations = {}
        for name, found in zip(names, pool.map(found_by, names), strict=True):
            operations[name] = found
            print(name, *(f"{mode}: {report.cell(found[mode])}" for mode in subject.BLOCKS), sep=" | ", flush=True)
    if word:
        return
    version = ".".join(platform.python_version_tuple()[:2])
    told = {"versions": subject.versions(), "operations": operations}
    folder = subject.FOLDER / "measured"
    folder.mkdir(exist_ok=True)
    (folder / f"{version}.json").write_text(json.dumps(told, indent=1) + "\n")
    report.write(subject)
