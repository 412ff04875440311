"""docs/OPENSSL.md: its table is what was measured, and what is measured here is no worse, in fewer handshakes."""
import pytest
from opensslleaks import keys, report
from opensslleaks.measuring import STEPS, measured
from support.loadedkeys import one_of_each

HANDSHAKES = 30
# What Python's own way must leave, for the search to be worth anything: read, and once used.
LOADED = {"RSA-2048": {"d", "p", "q", "dp", "dq", "qinv"}, "P-256": {"scalar"}, "Ed25519": {"seed"}}
USED = {"RSA-2048": {"R^2 mod p", "R^2 mod q"}, "P-256": {"scalar"}, "Ed25519": {"seed"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return one_of_each(tmp_path_factory.mktemp("keys"))


@pytest.mark.parametrize("form", ["PEM", "encrypted PEM", "DER", "encrypted DER"])
@pytest.mark.parametrize("kind", keys.KINDS)
def test_a_server_leaves_nothing_of_its_key(made, kind, form):
    found = measured(made[kind], form, "secalloc", HANDSHAKES)
    assert found == {step: {} for step in STEPS}


@pytest.mark.parametrize("form", ["PEM", "encrypted PEM"])
@pytest.mark.parametrize("kind", keys.KINDS)
def test_without_secalloc_all_of_it_is_found(made, kind, form):
    found = {step: set(report.values(found)) for step, found in measured(made[kind], form, "ordinary", 5).items()}
    assert LOADED[kind] <= found["load"]
    assert USED[kind] <= found["first handshake"]
    assert USED[kind] <= found["handshakes"]
    assert ("PEM" if form == "PEM" else "password") in found["load"] | found["import"]


def test_the_document_is_what_was_measured():
    assert report.DOCS.read_text() == report.document(report.measurements())


def test_the_bar_is_kept_on_every_python():
    kept = report.measurements()
    assert list(kept) == ["3.11", "3.12", "3.13", "3.14", "3.15"]
    for each in kept.values():
        assert report.copies(each, "secalloc") == 0
        assert report.copies(each, "ordinary") > 0
        assert each["versions"][1] == 1000
        assert {name.split(", ")[0] for name in each["servers"]} == set(keys.KINDS)
