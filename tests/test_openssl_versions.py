"""Other OpenSSLs than those that are installed: 1.1.1, and what older wheels of `cryptography` have linked in.

DOWNLOADS: each wheel is got by pip, as this machine has it set up; when one is not to be had, its tests fail.
"""
import subprocess
import sys

import pytest
from opensslleaks import keys
from support.children import TESTS, succeed
from support.loadedkeys import CRYPTOGRAPHY, KEPT, SIGNATURES, found, nothing, one_of_each

OPENSSL_1_1_1 = "psycopg2-binary==2.9.5"
FOR_PYTHON = "3.11"  # the last that this version of it has wheels for; its libcrypto is none of Python's
PARSED_BY_OPENSSL = "44.0.3"  # the last whose PEM is OpenSSL's to decode and decrypt
WHEELS = {"46.0.5": "OpenSSL 3.5.5 ", PARSED_BY_OPENSSL: "OpenSSL 3.4.1 "}
SEPARATE = ("39.0.2", "OpenSSL 3.0.8 ")  # linked into _openssl.abi3.so, beside _rust.abi3.so
BY_CTYPES = f"""
import ctypes
library, = arguments
if mode == "secalloc":
    from secalloc_ext.libcrypto import Library
    Library(library).route()
libcrypto = ctypes.CDLL(library)
pointer = ctypes.c_void_p
def function(name, *types, result=pointer):
    found = getattr(libcrypto, name)
    found.argtypes, found.restype = types, result
    return found
size = len(data)
view = (ctypes.c_ubyte * size).from_buffer(data)
at = pointer(ctypes.addressof(view))
key = function("d2i_AutoPrivateKey", pointer, pointer, ctypes.c_long)(None, ctypes.byref(at), size)
assert key
step("loaded")
begin = function("EVP_DigestSignInit", *[pointer] * 5, result=ctypes.c_int)
sign = function("EVP_DigestSign", pointer, pointer, pointer, pointer, ctypes.c_size_t, result=ctypes.c_int)
ED25519 = 1087
kind = function("EVP_PKEY_base_id", pointer, result=ctypes.c_int)(key)
digest = None if kind == ED25519 else function("EVP_sha256")()
for _ in range({SIGNATURES}):
    context = function("EVP_MD_CTX_new")()
    room = ctypes.c_size_t(512)
    signature = ctypes.create_string_buffer(room.value)
    assert begin(context, None, digest, None, key) == 1
    assert sign(context, signature, ctypes.byref(room), b"message", 7) == 1
    function("EVP_MD_CTX_free", pointer)(context)
step("signed")
function("EVP_PKEY_free", pointer)(key)
del view, data
gc.collect()
step("dropped")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return one_of_each(tmp_path_factory.mktemp("keys"))


def downloaded(tmp_path_factory, requirement, *options):
    """A folder with the wheel, and nothing that it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--no-compile",
         *options, "--target", folder, requirement], capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def libcrypto(tmp_path_factory):
    folder = downloaded(tmp_path_factory, OPENSSL_1_1_1, "--python-version", FOR_PYTHON)
    library, = folder.glob("psycopg2_binary.libs/libcrypto-*.so.1.1")
    return str(library)


@pytest.fixture(scope="module", params=WHEELS)
def wheel(request, tmp_path_factory):
    """Its version, and the folder that it is in."""
    return request.param, downloaded(tmp_path_factory, f"cryptography=={request.param}")


def test_openssl_1_1_1_is_routed_beside_that_of_ssl(libcrypto):
    succeed(
        """
        import sys
        from secalloc import openssl
        from secalloc_ext.libcrypto import Library, heap
        assert openssl.install().routed
        library = Library(sys.argv[1])
        assert library.version.startswith("OpenSSL 1.1.1") and library.path == sys.argv[1], library.version
        assert not library.routed
        library.route()
        library.route()
        assert library.routed
        import ctypes, ssl
        before = heap().stats().live_bytes
        made = [ctypes.CDLL(sys.argv[1]).EVP_PKEY_new() for _ in range(100)]
        assert heap().stats().live_bytes >= before + 100 * 16
        ssl.create_default_context()
        """,
        libcrypto,
    )


def test_openssl_1_1_1_that_has_allocated_is_too_late(libcrypto):
    succeed(
        """
        import ctypes, sys
        from secalloc import TooLateError
        from secalloc_ext.libcrypto import Library
        assert ctypes.CDLL(sys.argv[1]).EVP_PKEY_new()
        library = Library(sys.argv[1])
        try:
            library.route()
        except TooLateError as error:
            assert sys.argv[1] in str(error), error
        else:
            raise SystemExit("it was not too late")
        assert not library.routed
        """,
        libcrypto,
    )


@pytest.mark.parametrize("kind", keys.KINDS)
def test_nothing_is_found_of_a_key_in_openssl_1_1_1(made, libcrypto, kind):
    by_step = found(BY_CTYPES, made[kind], "DER", "secalloc", libcrypto)
    assert nothing(by_step), by_step
    assert KEPT[kind] <= found(BY_CTYPES, made[kind], "DER", "ordinary", libcrypto)["signed"]


def told(folder):
    """The status of cryptography's OpenSSL in a program that has routed it: version, and where."""
    return succeed(
        """
        from secalloc import openssl
        found, = [each for each in openssl.install(cryptography=True).libraries if each.needed_by == "cryptography"]
        assert found.routed
        print(found.version, found.path, sep="|")
        """,
        environment={"PYTHONPATH": f"{folder}:{TESTS}"},
    ).strip().split("|")


def test_an_older_wheel_is_routed(wheel):
    version, folder = wheel
    openssl, path = told(folder)
    assert openssl.startswith(WHEELS[version])
    assert path == str(folder / "cryptography" / "hazmat" / "bindings" / "_rust.abi3.so")


def test_a_wheel_from_before_openssl_was_linked_to_rust_is_routed(tmp_path_factory):
    version, expected = SEPARATE
    folder = downloaded(tmp_path_factory, f"cryptography=={version}")
    openssl, path = told(folder)
    assert openssl.startswith(expected)
    assert path == str(folder / "cryptography" / "hazmat" / "bindings" / "_openssl.abi3.so")


@pytest.mark.parametrize("kind", keys.KINDS)
def test_nothing_is_found_of_a_key_that_an_older_wheel_is_given_as_der(made, wheel, kind):
    by_step = found(CRYPTOGRAPHY, made[kind], "DER", "secalloc", first_on_path=[wheel[1]])
    assert nothing(by_step), by_step
    assert KEPT[kind] <= found(CRYPTOGRAPHY, made[kind], "DER", "ordinary", first_on_path=[wheel[1]])["signed"]


@pytest.mark.parametrize("form", ["PEM", "encrypted PEM"])
def test_a_pem_leaves_nothing_where_openssl_decodes_it(made, wheel, form):
    by_kind = {
        kind: found(CRYPTOGRAPHY, made[kind], form, "secalloc", first_on_path=[wheel[1]]) for kind in keys.KINDS
    }
    assert all(map(nothing, by_kind.values())) is (wheel[0] == PARSED_BY_OPENSSL), by_kind
