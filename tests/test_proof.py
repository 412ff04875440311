"""docs/PROOF.md: the attack table is what was measured, holds what it must, and every promise of README is in it."""
import re
from pathlib import Path

import pytest
from proof import report
from support.victim import OPENSSL_KEY

from secalloc.attacks import ATTACKS

ROOT = Path(__file__).parent.parent
COPIED = ("object of a scope", OPENSSL_KEY)
QUOTE = re.compile(r"^\| ([^|]+\.md): (.+?) \| (.+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def table():
    return report.measurements()["attackers"]


def test_the_document_is_what_was_measured():
    assert report.DOCS.read_text() == report.document()


@pytest.mark.parametrize("attacker", ["root", "same user"])
def test_every_attack_reached_ordinary_memory_and_nothing_secret_but_what_a_fork_copies(table, attacker):
    assert list(table[attacker]) == list(ATTACKS)
    for attack, cells in table[attacker].items():
        for kind, outcome in cells.items():
            if outcome["skipped"]:
                assert attack == "pagemap, kcore" or (attack, attacker) == ("/proc/PID/map_files", "same user")
                continue
            found = outcome["found"]
            assert report.count(found, "ordinary") == 3 or report.count(found, "shared") == 3
            assert report.count(found, "secret") == (3 if attack == "fork" and kind in COPIED else 0)


def test_another_user_is_refused_everything(table):
    for cells in table["another user"].values():
        assert all(outcome["skipped"] and not outcome["found"] for outcome in cells.values())


# --- the claims ---


def flat(text):
    return " ".join(text.split())


def quotes():
    """Of docs/PROOF.md: file, sentence, and what shows it."""
    return QUOTE.findall(report.DOCS.read_text())


@pytest.mark.parametrize(("file", "sentence"), [(file, sentence) for file, sentence, _ in quotes()])
def test_a_claim_stands_where_the_table_says(file, sentence):
    assert sentence in flat((ROOT / file).read_text())


def test_every_sentence_of_the_promise_is_a_claim_with_a_test():
    promise = flat((ROOT / "README.md").read_text().partition("## The promise")[2].partition("Not promised:")[0])
    for _, sentence, shown in quotes():
        if sentence in promise:
            assert ".py" in shown
            promise = promise.replace(sentence, "")
    assert re.sub(r"[\s\-.:;]", "", promise) == "", promise
