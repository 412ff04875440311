"""Keys from passwords, beside the same functions of other libraries."""
import hashlib
import hmac

import pytest
from argon2 import low_level
from argon2.exceptions import HashingError
from support import capi, maps
from support.children import succeed
from support.compiler import shared_library
from support.fixtures import nothing_leaks  # noqa: F401
from support.scanning import found_in, marker

from secalloc import Heap, SecureBytes, WipedError, kdf
from secalloc_ext.residue import call_into

PASSWORD, SALT = b"correct horse battery staple", b"pinch of salt"


def hkdf(hash_name, secret, size, salt, info):
    """RFC 5869, word for word."""
    key, block, made, i = hmac.digest(salt or bytes(hashlib.new(hash_name).digest_size), secret, hash_name), b"", b"", 1
    while len(made) < size:
        block = hmac.digest(key, block + info + bytes([i]), hash_name)
        made, i = made + block, i + 1
    return made[:size]


def argon2id(password, size, time_cost, memory_cost, parallelism):
    return low_level.hash_secret_raw(
        password, SALT, time_cost, memory_cost, parallelism, size, low_level.Type.ID, low_level.ARGON2_VERSION
    )


# Ours and theirs, of a password and a size.
FUNCTIONS = {
    "pbkdf2, sha256": (lambda p, n, **k: kdf.pbkdf2_hmac("sha256", p, SALT, 1_000, n, **k),
                       lambda p, n: hashlib.pbkdf2_hmac("sha256", p, SALT, 1_000, n)),
    "pbkdf2, sha1": (lambda p, n, **k: kdf.pbkdf2_hmac("SHA1", p, SALT, 1, n, **k),
                     lambda p, n: hashlib.pbkdf2_hmac("SHA1", p, SALT, 1, n)),
    "scrypt": (lambda p, n, **k: kdf.scrypt(p, salt=SALT, n=256, r=8, p=2, size=n, **k),
               lambda p, n: hashlib.scrypt(p, salt=SALT, n=256, r=8, p=2, dklen=n)),
    "hkdf": (lambda p, n, **k: kdf.hkdf("sha256", p, n, salt=SALT, info=b"test", **k),
             lambda p, n: hkdf("sha256", p, n, SALT, b"test")),
    "hkdf, sha3_512": (lambda p, n, **k: kdf.hkdf("sha3_512", p, n, **k),
                       lambda p, n: hkdf("sha3_512", p, n, b"", b"")),
    "argon2id": (lambda p, n, **k: kdf.argon2id(p, salt=SALT, time_cost=2, memory_cost=64, parallelism=2, size=n, **k),
                 lambda p, n: argon2id(p, n, 2, 64, 2)),
}  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs"), FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("size", [4, 16, 32, 33, 64, 100, 5_000])
def test_the_key_is_that_of_other_libraries(ours, theirs, size):
    for password in (PASSWORD, SecureBytes(PASSWORD), bytearray(PASSWORD), b"", b"\0" * 200):
        assert ours(password, size) == theirs(bytes(password), size)


def test_hkdf_makes_as_much_as_the_rfc_allows():
    for hash_name, size in (("sha256", 255 * 32), ("sha512", 255 * 64), ("sha1", 0)):
        assert kdf.hkdf(hash_name, PASSWORD, size) == hkdf(hash_name, PASSWORD, size, b"", b"")


@pytest.mark.parametrize(("ours", "theirs"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_key_lies_on_secret_pages_of_the_heap_asked_for(ours, theirs):
    heap = Heap("own")
    key = ours(PASSWORD, 32, heap=heap)
    assert key.heap is heap
    assert maps.mapping_at(capi.address_of(key)).is_secret
    assert not maps.mapping_at(id(theirs(PASSWORD, 32))).is_secret
    key.wipe()
    assert heap.stats().live == 0  # no view was left


@pytest.mark.parametrize("ours", [ours for ours, _ in FUNCTIONS.values()], ids=FUNCTIONS)
def test_bad_input_is_an_error_and_leaves_nothing(ours):
    heap = Heap("own")
    wiped = SecureBytes(PASSWORD)
    wiped.wipe()
    for password, size, error in (("text", 32, TypeError), (None, 32, TypeError), (wiped, 32, WipedError),
                                  (PASSWORD, -1, ValueError), (PASSWORD, "32", TypeError),
                                  (PASSWORD, 2**70, OverflowError)):  # fmt: skip
        with pytest.raises(error):
            ours(password, size, heap=heap)
    assert heap.stats().live == 0


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: kdf.pbkdf2_hmac("sha256", PASSWORD, SALT, 0, 32), ValueError),
        (lambda: kdf.pbkdf2_hmac("no such", PASSWORD, SALT, 1, 32), ValueError),
        (lambda: kdf.pbkdf2_hmac("HashAlgorithm", PASSWORD, SALT, 1, 32), ValueError),
        (lambda: kdf.pbkdf2_hmac("sha256", PASSWORD, "salt", 1, 32), TypeError),
        (lambda: kdf.pbkdf2_hmac("sha256", PASSWORD, 5, 1, 32), TypeError),
        (lambda: kdf.scrypt(PASSWORD, salt=SALT, n=3, r=8, p=1), ValueError),
        (lambda: kdf.hkdf("sha256", PASSWORD, 255 * 32 + 1), ValueError),
        (lambda: kdf.hkdf("shake_128", PASSWORD, 32), ValueError), (lambda: kdf.hkdf("no such", b"", 1), ValueError),
        (lambda: kdf.hkdf("sha256", PASSWORD, 32, salt="salt"), TypeError),
        (lambda: kdf.hkdf("sha256", PASSWORD, 32, info="info"), TypeError),
        (lambda: kdf.argon2id(PASSWORD, salt=b"short"), HashingError),
        (lambda: kdf.argon2id(PASSWORD, salt=SALT, size=3), HashingError),
        (lambda: kdf.argon2id(PASSWORD, salt=SALT, memory_cost=1), HashingError),
        (lambda: kdf.argon2id(PASSWORD, salt="pinch of salt"), TypeError),
    ],
)  # fmt: skip
def test_a_parameter_that_the_library_refuses_is_its_error(call, error):
    with pytest.raises(error):
        call()


@pytest.mark.parametrize(
    ("absent", "call", "text"),
    [
        ("cryptography", "scrypt(b'', salt=b'', n=2, r=1, p=1)", "needs cryptography, version 47"),
        ("cryptography", "pbkdf2_hmac('sha1', b'', b'', 1, 1)", "needs cryptography, version 47"),
        ("argon2", "argon2id(b'', salt=bytes(8))", "needs argon2-cffi"),
    ],
)
def test_without_the_library_the_error_says_what_to_install(absent, call, text):
    succeed(
        f"""
        import sys
        from secalloc import kdf
        assert {absent!r} not in sys.modules  # it is not imported before it is needed
        sys.modules[{absent!r}] = None
        try:
            kdf.{call}
            raise SystemExit("not refused")
        except ImportError as error:
            assert {text!r} in str(error) and "secalloc[kdf]" in str(error)
        """
    )


# --- what is left behind ---


def test_a_function_s_answer_is_taken_over_and_wiped_unless_it_is_shared():
    addresses = []

    def answer(made):
        addresses.append(id(made) + bytes.__basicsize__ - 1)
        return made

    key = SecureBytes(b"0123456789")
    call_into(key, lambda: answer(bytes(bytearray(b"secret"))))
    assert key == b"secret6789"
    assert b"ecret" not in capi.read(addresses[0], 6)
    shared = bytes(bytearray(b"shared"))
    for data in (shared, b"k", b""):
        with pytest.raises(ValueError, match="somebody else's"):
            call_into(key, answer, data)
    assert (shared, key) == (b"shared", b"secret6789")
    assert capi.read(addresses[1], 6) == b"shared"  # the control


@pytest.mark.parametrize(
    ("function", "error"),
    [(lambda: bytearray(5), TypeError), (lambda: "text", TypeError), (lambda: bytes(11), ValueError),
     (lambda: 1 // 0, ZeroDivisionError)],
)  # fmt: skip
def test_an_answer_that_is_none_is_an_error(function, error):
    key = SecureBytes(b"0123456789")
    with pytest.raises(error):
        call_into(key, function)
    assert key == b"0123456789"


@pytest.mark.parametrize("wiping", [True, False], ids=["wiped", "the control"])
def test_what_a_call_left_on_the_stack_is_wiped(tmp_path, wiping):
    library = shared_library("leave", tmp_path)
    code = f"""
        import ctypes
        from secalloc import SecureBytes
        from secalloc_ext.residue import wipe_stack
        key = SecureBytes.from_file(sys.argv[2])
        ctypes.CDLL({str(library)!r}).leave(ctypes.byref(ctypes.c_char.from_buffer(key)), ctypes.c_size_t(len(key)))
        assert not {wiping} or wipe_stack() > 100_000
        ready()
        """
    secret = marker()
    found = found_in(code, lambda feed: feed.file(secret * 1_000), {"secret": secret}, tmp_path)
    assert found == (set() if wiping else {"secret"})


def test_the_stack_of_a_small_thread_is_wiped_as_far_as_it_goes():
    """In a process of its own: libc gives a thread the stack of one that has ended, of whatever size."""
    succeed(
        """
        import threading
        from secalloc_ext.residue import wipe_stack
        wiped = []
        threading.stack_size(64 * 1024)
        thread = threading.Thread(target=lambda: wiped.append(wipe_stack()))
        thread.start()
        thread.join()
        assert 0 < wiped[0] < 64 * 1024 < wipe_stack(), wiped
        """
    )
