"""Measures every case, or those whose name holds a word, and writes docs/CONSUMERS.md: `python tests/consumers [WORD]`.

With a word it prints the rows only. Libraries that are not installed are left out, and said to be.
"""
import importlib.metadata
import platform
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from consumers.cases import CASES, Case
from consumers.measuring import Absent, Outcome, outcome

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "CONSUMERS.md"
TRIES = 3
FORMS = ("SecureBytes", "reveal", "ordinary", "kept")
HEAD = """# What libraries do with a secret

Made by `python tests/consumers` ({versions}).

Each row is a process of its own. It gets 32 bytes or letters straight into secret pages, hands them to a library, drops
all of it, and its ordinary memory is searched from outside for either half of the secret. *Copies* are places found,
the most of three tries; 0 is clean. Secrets that are encoded (base64, hex) or expanded (key schedules) are not looked
for. What `struct.unpack` and `int.from_bytes` answer is an ordinary object with the secret in it, found afterwards or
not.

- **`SecureBytes`**: the object itself. Where it is refused, by a `TypeError` or the library's own, nothing happened;
  "sent something else" means that the library took its `str()`, which tells nothing, for the secret: no leak, and no
  log-in.
- **`reveal()`**: `key.reveal()`, a true `bytes`, or for texts `key.reveal_str()`, a true `str`.
- **ordinary**: `bytes` or `str`, for comparison; also dropped before the search. As a control each case also ran with
  an ordinary copy that was kept: it was found in every one.

| library | use | `SecureBytes` | copies | `reveal()` | copies | ordinary: copies |
| --- | --- | --- | --- | --- | --- | --- |
"""


class Blind(Exception):
    """The search did not find the copy that was kept: it shows nothing."""


def version(case: Case) -> str:
    return f"{case.package} {importlib.metadata.version(case.package)}" if case.package else "standard library"


def told(result: Outcome) -> str:
    if result.refused is None:
        return "yes"
    return "**" + result.refused + "**" if result.refused.startswith("sent") else "no: " + result.refused.split(":")[0]


def worst(name: str, form: str) -> Outcome:
    """Of a few tries: what a library frees may be overwritten by chance."""
    return max((outcome(name, form) for _ in range(TRIES)), key=lambda result: result.copies)


def row(case: Case) -> str:
    secure, revealed, ordinary, kept = (worst(case.name, form) for form in FORMS)
    if kept.copies == 0:
        raise Blind(case.name)
    taken = told(secure), secure.copies, told(revealed), revealed.copies
    cells = version(case), f"`{case.what}`", *taken, ordinary.copies
    return "| " + " | ".join(map(str, cells)) + " |"


def row_or_absence(case: Case) -> str:
    try:
        return row(case)
    except (Absent, importlib.metadata.PackageNotFoundError) as error:
        return f"not measured: {case.name} ({error})"


def main(word: str = "") -> None:
    cases = sorted((case for case in CASES.values() if word in case.name), key=lambda case: (case.package, case.what))
    with ThreadPoolExecutor(2) as pool:
        rows = []
        for line in pool.map(row_or_absence, cases):
            print(line, file=sys.stderr if line.startswith("not") else sys.stdout, flush=True)
            rows.append(line)
    if word:
        return
    versions = f"CPython {platform.python_version()}, {ssl.OPENSSL_VERSION}, Linux {platform.release()}"
    absent = [line for line in rows if line.startswith("not")]
    text = HEAD.format(versions=versions) + "\n".join(line for line in rows if line not in absent) + "\n"
    DOCS.write_text(text + "".join(f"\n{line.capitalize()}.\n" for line in absent))


if __name__ == "__main__":
    main(*sys.argv[1:])
