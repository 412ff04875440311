"""The inputs in the repository: `corpus/TARGET/`, a file each, named by its content's hash.

What is in one is at least an input that a target takes. What hypothesis makes of the bytes may change with its
version: then the corpus shows other behaviours, or less, and `--grow` makes it anew.
"""
import hashlib
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
TARGET_BYTES_MAX = 24 << 10  # of one target's inputs in all
TARGET_FILES_MAX = 100


def load(name):
    """A target's inputs, short ones first."""
    return sorted((path.read_bytes() for path in (CORPUS / name).glob("*")), key=lambda data: (len(data), data))


def chosen(entries):
    """Of (input, behaviours) those that show most, and of these the short ones, as many as there is room for."""
    shown, result, room = set(), [], TARGET_BYTES_MAX
    left = sorted(entries, key=lambda entry: (len(entry[0]), entry[0]))
    while left and len(result) < TARGET_FILES_MAX:
        data, behaviours = max(left, key=lambda entry: len(entry[1] - shown))
        if behaviours <= shown:
            break
        shown |= behaviours
        room -= len(data)
        result.append(data)
        left = [entry for entry in left if len(entry[0]) <= room and not entry[1] <= shown]
    return result


def store(name, inputs):
    """Have these, and no others, in the repository."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    files = {hashlib.sha256(data).hexdigest()[:12]: data for data in inputs}
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()
    for file, data in files.items():
        (folder / file).write_bytes(data)
