"""The OpenSSL that `cryptography` has linked in, on secret pages: the newest wheel, as it is installed here.

What is found of a key is shown in both directions, with secalloc and without.
"""
import os
import shutil
import subprocess
from pathlib import Path

import cryptography
import pytest
from opensslleaks import keys
from support.children import TESTS, succeed
from support.loadedkeys import CRYPTOGRAPHY, KEPT, found, nothing, one_of_each

PACKAGE = Path(cryptography.__file__).parent
DECODED = {"RSA-2048": {"d", "p"}, "P-256": {"scalar"}, "Ed25519": {"seed"}}  # by Rust


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return one_of_each(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def copied(tmp_path):
    """A copy of the package, and what makes a program import it instead."""
    shutil.copytree(PACKAGE, tmp_path / "cryptography", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "cryptography" / "hazmat" / "bindings", {"PYTHONPATH": f"{tmp_path}{os.pathsep}{TESTS}"}


@pytest.mark.parametrize(("form", "how"), [("DER", "as it is"), ("DER", "revealed"), ("PEM", "decoded")])
@pytest.mark.parametrize("kind", keys.KINDS)
def test_nothing_is_found_of_a_key_that_is_given_as_der(made, kind, form, how):
    by_step = found(CRYPTOGRAPHY, made[kind], form, "secalloc", how)
    assert nothing(by_step), by_step


@pytest.mark.parametrize("form", ["DER", "PEM"])
@pytest.mark.parametrize("kind", keys.KINDS)
def test_without_secalloc_what_openssl_keeps_is_found(made, kind, form):
    assert KEPT[kind] <= found(CRYPTOGRAPHY, made[kind], form, "ordinary")["signed"]


@pytest.mark.parametrize("form", ["PEM", "encrypted DER", "encrypted PEM"])
def test_what_rust_decodes_or_decrypts_is_found_until_malloc_overwrites_it(made, form):
    """Not of each key each time; of OpenSSL's own never."""
    by_kind = {kind: found(CRYPTOGRAPHY, made[kind], form, "secalloc") for kind in keys.KINDS}
    assert any(DECODED[kind] <= by_step["loaded"] for kind, by_step in by_kind.items()), by_kind
    for by_step in by_kind.values():
        assert set().union(*by_step.values()).isdisjoint({"R^2 mod p", "R^2 mod q", "password"})


def test_what_a_key_tells_of_itself_is_an_ordinary_object(made):
    by_step = found(CRYPTOGRAPHY, made["Ed25519"], "DER", "secalloc", "told")
    assert (by_step["signed"], by_step["told"]) == (set(), {"seed"})


def test_its_keys_live_and_die_on_the_secret_heap():
    succeed(
        """
        import gc
        from secalloc import openssl
        routed = openssl.install(cryptography=True)
        from cryptography.hazmat.bindings._rust import openssl as its
        from cryptography.hazmat.primitives.asymmetric import rsa
        inside = {each.needed_by: each for each in routed.libraries}["cryptography"]
        assert inside.routed and inside.version == its.openssl_version_text(), inside
        assert inside.path == __import__("cryptography.hazmat.bindings._rust").hazmat.bindings._rust.__file__
        def live():
            gc.collect()
            return openssl.status().heap.live_bytes
        rsa.generate_private_key(65537, 2048)
        before = live()
        kept = [rsa.generate_private_key(65537, 2048) for _ in range(3)]
        alive = live()
        assert alive > before + 3 * 2048 // 8, (before, alive)
        del kept
        assert live() < alive
        """
    )


def test_it_works_as_before():
    succeed(
        """
        import threading
        from secalloc import openssl
        openssl.install(cryptography=True)
        from cryptography.fernet import Fernet
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, x25519
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
        done = []
        def use():
            for _ in range(5):
                key = ec.generate_private_key(ec.SECP256R1())
                signed = key.sign(b"message", ec.ECDSA(hashes.SHA256()))
                key.public_key().verify(signed, b"message", ec.ECDSA(hashes.SHA256()))
                one, other = (x25519.X25519PrivateKey.generate() for _ in range(2))
                shared = one.exchange(other.public_key())
                assert shared == other.exchange(one.public_key())
                box = AESGCM(shared)
                assert box.decrypt(bytes(12), box.encrypt(bytes(12), b"text" * 5000, b""), b"") == b"text" * 5000
                assert len(Scrypt(salt=b"salt", length=32, n=1024, r=8, p=1).derive(b"password")) == 32
                lock = Fernet(Fernet.generate_key())
                assert lock.decrypt(lock.encrypt(b"text")) == b"text"
            done.append(1)
        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert len(done) == 4
        """
    )


def test_who_asks_again_changes_nothing():
    succeed(
        """
        from secalloc import openssl
        first = openssl.install(cryptography=True)
        assert openssl.install(cryptography=True) == openssl.install() == openssl.status() == first
        import cryptography.x509
        assert openssl.install(cryptography=True).libraries == first.libraries
        """
    )


def test_who_does_not_ask_leaves_it_alone():
    succeed(
        """
        from secalloc import TooLateError, openssl
        assert "cryptography" not in {each.needed_by for each in openssl.install().libraries}
        from cryptography.hazmat.bindings import _rust
        try:
            openssl.install(cryptography=True)
        except TooLateError as error:
            assert _rust.__file__ in str(error) and "for cryptography.hazmat.bindings._rust:" in str(error), error
        else:
            raise SystemExit("it was not too late")
        routed = {each.needed_by: each.routed for each in openssl.status().libraries}
        assert routed == {"_ssl": True, "_hashlib": True, "cryptography": False}, routed
        """
    )


def refused(environment, expected, first=""):
    """A program in which `install` cannot reach cryptography's OpenSSL, for the reason given."""
    succeed(
        f"""
        import os, sys
        from secalloc import UnsupportedError, openssl
        {first}
        try:
            openssl.install(cryptography=True)
        except UnsupportedError as error:
            assert all(part in str(error) for part in {expected!r}), error
        else:
            raise SystemExit("it was not refused")
        assert openssl.install().routed
        """,
        environment=environment,
    )


def test_a_copy_of_the_package_is_as_good(copied):
    succeed("from secalloc import openssl; openssl.install(cryptography=True)", environment=copied[1])


def test_a_stripped_library_is_refused(copied):
    folder, environment = copied
    library, = folder.glob("_rust*.so")
    subprocess.run(["strip", library], check=True)
    refused(environment, [str(library), "OpenSSL"])


def test_a_package_without_its_library_is_refused(copied):
    folder, environment = copied
    for library in folder.glob("_rust*.so"):
        library.unlink()
    refused(environment, [str(folder.parent.parent), "_rust*.so"])
    shutil.rmtree(folder)
    refused(environment, [str(folder.parent.parent), "_rust*.so"])


def test_what_is_not_installed_is_refused():
    refused({}, ["cryptography is not installed"],
            'sys.path = [path for path in sys.path if not os.path.isdir(os.path.join(path, "cryptography"))]')


def test_a_module_by_its_name_is_refused(tmp_path):
    (tmp_path / "cryptography.py").touch()
    refused({"PYTHONPATH": f"{tmp_path}{os.pathsep}{TESTS}"}, ["cryptography is not installed"])
