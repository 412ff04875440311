"""RevealedBytes: a true `bytes` whose payload is secret memory."""
import base64
import copy
import ctypes
import gc
import hashlib
import hmac
import json
import logging
import marshal
import operator
import pickle
import pprint
import signal
import struct
import sys
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import capi, maps
from support.children import die, succeed
from support.revealing import HEADER, Bytes, assert_alike, check_whole, holds, outcome, payload_of, reveal, small
from support.threads import in_threads

from secalloc import Heap, HeapLimitError, ProtectedError, SecureBytes, WipedError

SECRET = b"correct horse battery staple"


@pytest.fixture
def heap():
    heap = Heap("revealing")
    yield heap
    gc.collect()
    assert heap.is_valid()
    assert heap.stats().live == 0


# --- what it is ---

@pytest.mark.parametrize("size", [1, 7, 8, 32, 4_087, 4_088, 4_089, 4_096, 100_000])
def test_it_is_bytes_on_secret_pages_behind_a_header_that_is_not(heap, size):
    plain = bytes(i % 251 for i in range(size))
    key = reveal(plain, heap)
    assert type(key) is Bytes
    assert isinstance(key, bytes)
    assert_alike(plain, key)
    check_whole(key)
    assert payload_of(key) % 4096 == 0


def test_an_empty_one_has_no_secret_and_is_the_ordinary_one():
    assert type(SecureBytes(b"").reveal()) is bytes


def test_c_code_sees_bytes():
    key = reveal(SECRET)
    as_string, size = ctypes.pythonapi.PyBytes_AsString, ctypes.pythonapi.PyBytes_Size
    as_string.restype, as_string.argtypes = ctypes.c_void_p, [ctypes.py_object]
    size.argtypes = [ctypes.py_object]
    assert (as_string(key), size(key)) == (payload_of(key), len(SECRET))


def test_the_type_is_final_and_makes_nothing():
    for make in (Bytes, lambda: Bytes(b"x"), lambda: Bytes.__new__(Bytes), lambda: bytes.__new__(Bytes, b"x"),
                 lambda: type("Sub", (Bytes,), {})):
        with pytest.raises(TypeError):
            make()
    key = reveal(SECRET)
    with pytest.raises(AttributeError):
        key.name = 1
    with pytest.raises(TypeError):
        weakref.ref(key)
    with pytest.raises(TypeError):
        Bytes.upper = None
    assert not gc.is_tracked(key)
    assert sys.getsizeof(key) == sys.getsizeof(SECRET)


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=40))
def test_it_compares_and_hashes_as_bytes(plain, other):
    key = reveal(plain)
    for relation in (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge):
        for this in (other, plain, bytearray(other), memoryview(plain), reveal(other), None, 5, "text"):
            assert outcome(lambda: relation(key, this)) == outcome(lambda: relation(plain, this))  # noqa: B023
            assert outcome(lambda: relation(this, key)) == outcome(lambda: relation(this, plain))  # noqa: B023
    assert {plain: 1}[key] == 1
    assert {key: 1}[plain] == 1
    assert key == SecureBytes(plain)


def test_its_hash_is_not_kept_in_the_header():
    key = reveal(SECRET)
    kept = ctypes.c_ssize_t.from_address(id(key) + HEADER - 8)
    assert hash(key) == hash(SECRET)
    assert kept.value == -1
    assert bytes.__hash__(key) == kept.value != -1  # the control; this cannot be stopped


# --- its methods, beside those of bytes ---

some = st.one_of(st.binary(max_size=3), st.sampled_from([b" ", b"a", b"\n", b"ab", b"-1"]))
lively = st.text("aAzZ \t\r\n\x0b\x0c-+19\xe4", min_size=1, max_size=30).map(lambda text: text.encode("latin-1"))
texts = st.binary(min_size=1, max_size=30) | lively
maybe = st.none() | some
CALLS = {
    "strip": [maybe], "lstrip": [maybe], "rstrip": [maybe], "removeprefix": [some], "removesuffix": [some],
    "partition": [some], "rpartition": [some], "split": [maybe, small], "rsplit": [maybe, small],
    "splitlines": [st.booleans()], "replace": [some, some, small], "join": [st.lists(some, max_size=4)],
    "ljust": [st.integers(-1, 50), st.sampled_from([b" ", b"x", b"", b"xy"])],
    "rjust": [st.integers(-1, 50), st.just(b"0")], "center": [st.integers(-1, 50), st.just(b"*")],
    "zfill": [st.integers(-1, 50)], "expandtabs": [small], "lower": [], "upper": [], "swapcase": [], "title": [],
    "capitalize": [], "hex": [st.sampled_from([":", b"-", "", "ab"]), st.integers(-5, 5)],
    "translate": [st.none() | st.just(bytes(reversed(range(256)))) | st.just(b"short"), some],
    "decode": [st.sampled_from(["latin-1", "ascii", "utf-8"]), st.sampled_from(["strict", "replace", "ignore"])],
    "__getitem__": [st.slices(20) | st.integers(-40, 40)], "__add__": [some], "__mul__": [small], "__rmul__": [small],
    "count": [some], "find": [some], "rfind": [some], "index": [some], "rindex": [some], "startswith": [some],
    "endswith": [some], "isalnum": [], "isalpha": [], "isascii": [], "isdigit": [], "islower": [], "isspace": [],
    "istitle": [], "isupper": [], "__contains__": [some], "__len__": [], "__iter__": [],
}  # fmt: skip
PLAIN = {"__getitem__": int}  # what a byte is


@pytest.mark.parametrize("name", CALLS)
@given(data=st.data())
def test_a_method_answers_as_that_of_bytes_with_what_is_secret_revealed(name, data):
    plain = data.draw(texts)
    arguments = [data.draw(each) for each in CALLS[name]]
    key = reveal(plain)
    ours = outcome(lambda: getattr(key, name)(*arguments))
    theirs = outcome(lambda: getattr(plain, name)(*arguments))
    if name == "__iter__":
        ours, theirs = [*ours], [*theirs]
    assert_alike(theirs, ours)
    holds(ours, given=arguments)


def test_no_method_of_bytes_is_forgotten():
    """Each is tried above, or is of those that the other tests are about."""
    elsewhere = {"__bytes__", "__buffer__", "__getnewargs__", "__mod__", "__rmod__", "__hash__", "__eq__", "__ne__",
                 "__lt__",
                 "__le__", "__gt__", "__ge__", "fromhex", "maketrans", "__doc__", "__new__", "__repr__", "__str__",
                 "__getattribute__"}  # fmt: skip
    assert {name for name in vars(bytes) if name not in CALLS} <= elsewhere
    assert Bytes.fromhex("00ff") == reveal(SECRET).fromhex("00ff") == b"\x00\xff"


@given(texts, some)
def test_operators_take_it_on_either_side(plain, other):
    key = reveal(plain)
    for ours, theirs in (
        (lambda: key + other, plain + other), (lambda: other + key, other + plain), (lambda: key * 3, plain * 3),
        (lambda: 2 * key, 2 * plain), (lambda: key + key, plain + plain), (lambda: key[1:-1], plain[1:-1]),
        (lambda: key[::-2], plain[::-2]), (lambda: key + bytearray(other), plain + other),
        (lambda: key + SecureBytes(other), plain + other),
    ):  # fmt: skip
        assert_alike(theirs, ours())
        holds(ours())
    longer = key
    longer += other
    assert_alike(plain + other, longer)
    assert bytearray(other) + key == bytearray(other) + plain
    assert type(bytearray(other) + key) is bytearray


@pytest.mark.parametrize("call", [
    lambda key: key + "text", lambda key: "text" + key, lambda key: key + 5, lambda key: 5 + key, lambda key: key * 1.5,
    lambda key: key.strip("x"), lambda key: key.split("x"), lambda key: key.split(b""), lambda key: key.join([1]),
    lambda key: key.join(["x"]), lambda key: key.replace(1, 2), lambda key: key.center("x"), lambda key: key["x"],
    lambda key: key[10**30], lambda key: key * 10**30, lambda key: key.hex(b"\xff"), lambda key: key.decode(5),
    lambda key: key.decode("unheard of"), lambda key: key.decode("utf-8", 5), lambda key: key.partition(b""),
    lambda key: key.translate(5), lambda key: key.expandtabs(10**30), lambda key: key.zfill(None), lambda key: key[::0],
    lambda key: key.ljust(9, None), lambda key: key.hex(None), lambda key: key.hex(None, 2),
])  # fmt: skip
def test_bad_arguments_are_refused_as_bytes_refuses_them(call):
    theirs = outcome(lambda: call(SECRET))
    assert isinstance(theirs, type)
    assert outcome(lambda: call(reveal(SECRET))) is theirs


def test_a_method_of_the_type_takes_no_other_object():
    for stranger in (b"bytes", "text", SecureBytes(b"x"), reveal("text")):
        with pytest.raises(TypeError):
            Bytes.decode(stranger)
    with pytest.raises(TypeError):
        Bytes.upper(b"bytes")


def test_what_is_asked_for_already_is_itself():
    key = reveal(SECRET)
    assert bytes(key) is key
    assert copy.copy(key) is copy.deepcopy(key) is key
    assert key[:] is key[0:100] is key.strip() is key * 1 is key + b"" is b"" + key is key.replace(b"#", b"") is key
    assert copy.deepcopy([key])[0] is key


# --- what does not leave ---

def test_no_representation_shows_it(caplog):
    key = reveal(SECRET)
    caplog.set_level(logging.INFO)
    logging.info("%s %r %s", key, key, {"key": [key]})
    shown = [repr(key), str(key), f"{key}", f"{key!r}", f"{key!a}", pprint.pformat([key]), caplog.text, "%s" % key]  # noqa: UP031
    assert all("RevealedBytes 28 bytes" in each and "horse" not in each for each in shown)


def test_it_is_not_pickled_nor_formatted():
    key = reveal(SECRET)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for container in (key, [key], {"key": key}):
            with pytest.raises(TypeError, match="ordinary copy"):
                pickle.dumps(container, protocol)
    with pytest.raises(TypeError):
        json.dumps(key)
    with pytest.raises(TypeError, match="ordinary memory"):
        key % ()
    with pytest.raises(TypeError, match="ordinary memory"):
        format(key, ">40")
    with pytest.raises(TypeError):
        key.__getnewargs__()


def test_what_cannot_be_stopped_is_an_ordinary_copy():
    """C code that reads the payload, and bytes' own methods: docs/REVEAL.md has the list."""
    key = reveal(SECRET)
    for copied in (
        bytes.upper(key), b"".join([key, b""]), b"%s" % key, marshal.loads(marshal.dumps(key)),
        base64.b64decode(base64.b64encode(key)), memoryview(key).tobytes(), bytes(bytearray(key)),
    ):  # fmt: skip
        assert type(copied) is bytes
        assert copied.lower() == SECRET


def test_consumers_take_it():
    key = reveal(SECRET)
    assert hmac.new(key, b"x", "sha256").digest() == hmac.new(SECRET, b"x", "sha256").digest()
    assert hmac.compare_digest(key, SECRET)
    assert hashlib.sha256(key).digest() == hashlib.sha256(SECRET).digest()
    assert hashlib.pbkdf2_hmac("sha256", key, b"salt", 2) == hashlib.pbkdf2_hmac("sha256", SECRET, b"salt", 2)
    assert hashlib.scrypt(key, salt=b"s", n=2, r=1, p=1) == hashlib.scrypt(SECRET, salt=b"s", n=2, r=1, p=1)
    assert hashlib.blake2b(b"x", key=key).digest() == hashlib.blake2b(b"x", key=SECRET).digest()
    assert int.from_bytes(key, "big") == int.from_bytes(SECRET, "big")
    assert struct.unpack("<7I", key) == struct.unpack("<7I", SECRET)
    assert [*key] == [*SECRET]
    match key:
        case bytes(matched):
            assert matched is key


def test_pythons_own_hmac_takes_it_and_pads_it_in_secret():
    key = reveal(SECRET)
    mac = hmac.HMAC.__new__(hmac.HMAC)
    mac._init_old(key, b"x", hashlib.sha256)
    assert mac.digest() == hmac.new(SECRET, b"x", "sha256").digest()


def test_cryptography_takes_it():
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    secret = SecureBytes.random(32)
    key, plain = secret.reveal(), bytes(bytearray(secret))
    assert AESGCM(key).encrypt(bytes(12), b"x", None) == AESGCM(plain).encrypt(bytes(12), b"x", None)
    assert HKDF(SHA256(), 32, None, b"").derive(key) == HKDF(SHA256(), 32, None, b"").derive(plain)


# --- its end, and its heap ---

def test_the_last_reference_wipes_it_and_the_page_is_used_again(heap):
    key = reveal(SECRET, heap)
    address, pages = payload_of(key), heap.stats().committed
    kept = [key]
    del key
    assert capi.read(address, len(SECRET)) == SECRET  # the control
    kept.clear()
    assert SECRET[:8] not in capi.read(address, 4096)
    again = reveal(SECRET, heap)
    assert payload_of(again) == address
    assert heap.stats().committed == pages


def test_statistics_count_it_and_trim_releases_what_is_free(heap):
    keys = [reveal(SECRET * n, heap) for n in (1, 1, 200)]
    stats = heap.stats()
    assert (stats.large_live, stats.large_bytes_live, stats.header_bytes) == (3, 202 * len(SECRET), 3 * 4096)
    assert stats.large_committed_live == 4096 + 4096 + 8192
    assert heap.is_valid()
    keys.clear()
    assert (heap.stats().large_live, heap.stats().large_free) == (0, 3)
    assert heap.is_valid()
    heap.trim()
    assert (heap.stats().committed, heap.stats().header_bytes) == (0, 0)


def test_the_stock_of_free_pages_is_limited(heap):
    keys = [reveal(SECRET, heap) for _ in range(200)]
    keys.clear()
    assert 0 < heap.stats().large_committed_free <= 256 * 1024


def test_at_the_limit_of_the_heap_it_is_a_memory_error_and_the_heap_goes_on():
    heap = Heap("small", limit="64 KiB")
    secret = SecureBytes(SECRET, heap=heap)
    keys = [secret.reveal() for _ in range(12)]  # and 16 KiB are the slab of the SecureBytes
    with pytest.raises(HeapLimitError):
        secret.reveal()
    assert all(key == SECRET for key in keys)
    keys.pop()
    keys.append(secret.reveal())
    keys.clear()
    assert len(SecureBytes(40_000, heap=heap)) == 40_000  # what is in stock gives way
    assert heap.is_valid()


def test_two_thousand_live_within_eight_mebibytes():
    """RLIMIT_MEMLOCK as it is by default. The memory of each is a page, whatever its size."""
    succeed(
        """
        from secalloc import MemlockLimitError, SecureBytes
        from support import hostile
        hostile.become_ordinary_user()
        hostile.limit("RLIMIT_MEMLOCK", 8 << 20)
        secret, keys = SecureBytes(b"correct horse"), []
        try:
            while True:
                keys.append(secret.reveal())
        except MemlockLimitError:
            pass
        assert 2040 <= len(keys) < 2048 and all(key == b"correct horse" for key in keys), len(keys)
        del keys[1000:]
        keys += [secret.reveal() for _ in range(1000)]
        """
    )


@pytest.mark.parametrize("backend", ["secretmem", "mlock"])
def test_it_lies_where_its_heap_lies(backend):
    heap = Heap("own", backend=backend)
    secret = SecureBytes(SECRET, heap=heap)
    for found in (secret.reveal(), secret.reveal()[3:9], secret.reveal() + b"x", secret.reveal().upper()):
        assert maps.backend_at(payload_of(found)) == backend
    assert maps.backend_at(id(found)) is None


@pytest.mark.parametrize("options", [{"flush_on_wipe": True}, {"hardening": "full"}, {"retain": 0}], ids=str)
def test_whatever_the_heap_is_like_it_is_wiped_and_made_again(options):
    heap = Heap("like this", **options)
    secret = SecureBytes(SECRET, heap=heap)
    for size in (1, 100, 200, 3_000):
        kept = [secret.reveal() * size for _ in range(3)]
        assert kept == [SECRET * size] * 3
        address = payload_of(kept[0])
        kept.clear()
        around = maps.mapping_at(address)
        assert around.is_closed or SECRET[:8] not in capi.read(address, size * len(SECRET))
    assert heap.is_valid()


def test_it_keeps_its_heap_and_outlives_the_secret(heap):
    secret = SecureBytes(SECRET, heap=Heap("gone"))
    key = secret.reveal()
    secret.wipe()
    del secret
    gc.collect()
    assert key == SECRET
    assert bytes(key + b"!") == SECRET + b"!"


def test_wiping_the_heap_wipes_it(heap):
    key = reveal(SECRET, heap)
    heap.wipe()
    assert [*key] == [0] * len(SECRET)
    assert heap.is_valid()


def test_a_secret_that_cannot_be_read_is_not_revealed(heap):
    wiped, guarded = SecureBytes(SECRET, heap=heap), SecureBytes(SECRET, heap=heap, guarded=True)
    wiped.wipe()
    with pytest.raises(WipedError):
        wiped.reveal()
    guarded.noaccess()
    with pytest.raises(ProtectedError):
        guarded.reveal()
    with guarded.unlocked():
        assert guarded.reveal() == SECRET


def test_a_locked_heap_reveals_nothing_and_what_is_out_keeps_it_from_being_locked(heap):
    secret = SecureBytes(SECRET, heap=heap)
    key = secret.reveal()
    with pytest.raises(BufferError, match="revealed"):
        heap.lock()
    del key
    heap.lock()
    with pytest.raises(ProtectedError):
        secret.reveal()
    heap.unlock()


def test_what_is_revealed_in_a_block_keeps_the_pages_open_behind_it(heap):
    secret = SecureBytes(SECRET, heap=heap)
    heap.lock()
    with heap.unlocked():
        key, other = secret.reveal(), secret.reveal()
    address = payload_of(key)
    assert key == SECRET
    assert not maps.mapping_at(address).is_closed
    del key
    assert other == SECRET
    assert heap.is_valid()
    del other
    if not heap.stats().protection_key:
        address = capi_address(secret, heap)
        assert all(each.is_closed for each in maps.secret_mappings() if each.start <= address < each.end)
    heap.unlock()
    assert secret == SECRET


def capi_address(secret, heap):
    """Where a SecureBytes lies, of a heap that is locked."""
    with heap.unlocked():
        return capi.address_of(secret)


def test_threads_make_and_drop_them_at_once():
    heap = Heap("shared")
    secret = SecureBytes(SECRET, heap=heap)

    def work(i):
        held = []
        for _ in range(300):
            held.append(secret.reveal() + bytes([i]))
            assert all(key == SECRET + bytes([i]) for key in held)
            del held[: len(held) // 5]

    in_threads(4, work)
    assert heap.is_valid()
    assert heap.stats().large_live == 0


# --- misuse of its memory ---

PRELUDE = """
import ctypes
from secalloc import SecureBytes
from support import capi
key = SecureBytes(b"correct horse battery staple").reveal()
address = id(key) + bytes.__basicsize__ - 1
"""


@pytest.mark.parametrize(("misuse", "phrase"), [
    ("capi.spoil(address + 28); del key", "overflow"), ("capi.spoil(address + 31); del key", "overflow"),
    ("capi.spoil(address + 90); del key", "overflow"), ("capi.free(address)", "pointer was not allocated here"),
    ("del key; capi.spoil(address + 5); SecureBytes(20).reveal()", "write after free"),
    ("capi.usable_size(address)", "pointer was not allocated here"),
])  # fmt: skip
def test_misuse_of_its_memory_ends_the_process(misuse, phrase):
    die(PRELUDE + f"print('ready', flush=True)\n{misuse}", by=signal.SIGABRT, phrase=f"secalloc: {phrase}\n")


def test_beyond_its_pages_is_a_guard():
    die(PRELUDE + "print('ready', flush=True)\ncapi.read(address + 4096, 1)", by=signal.SIGSEGV)


def test_correct_use_of_its_memory_ends_no_process():
    succeed(PRELUDE + "assert capi.read(address, 29) == key + bytes(1)\ndel key\nSecureBytes(20).reveal()")


def test_the_end_of_the_interpreter_with_live_ones_is_quiet():
    succeed(
        """
        import atexit, sys
        from secalloc import Heap, SecureBytes, wipe_on_signal
        heap = Heap("late", on_fork="copy")
        key, text = SecureBytes(b"k" * 32).reveal(), SecureBytes(b"t" * 32, heap=heap).reveal_str()
        class Late:
            def __del__(self, key=key, text=text):
                assert key + b"" == b"k" * 32 and text[:3] == "ttt"
        sys.late = Late()
        atexit.register(lambda key=key: print(key.count(b"k"), SecureBytes(b"x").reveal() == b"x"))
        wipe_on_signal(15)
        """
    )


def test_a_subinterpreter_has_none_and_the_first_goes_on():
    """The core is one for the process: an import in a second interpreter is refused."""
    succeed(
        """
        from secalloc import SecureBytes
        key = SecureBytes(b"correct horse").reveal()
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        other = interpreters.create()
        program = "try:\\n import secalloc\\nexcept ImportError: pass\\nelse: raise SystemExit('imported')"
        run = getattr(interpreters, "exec", None) or interpreters.run_string
        assert run(other, program) is None
        interpreters.destroy(other)
        assert key == b"correct horse" and key.upper() == b"CORRECT HORSE"
        """
    )
