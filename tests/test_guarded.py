"""Guarded objects: against a guard page, with a protection of their own. Misuse: `tests/death/test_guarded.py`."""
import errno
import gc
import io
import random
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import capi, maps
from support.children import succeed

from secalloc import Heap, ProtectedError, SecureBytes, WipedError, stats

SIZES = [0, 1, 15, 32, 4095, 4096, 4097, 20_000, 126_976, 126_977, 3_000_000]
READS = {
    "an index": lambda key: key[0],
    "a slice": lambda key: key[1:3],
    "a comparison": lambda key: key == b"abcd",
    "bytes": bytes,
    "a view": memoryview,
    "a copy": lambda key: key.copy(),
    "a search": lambda key: b"a" in key,
    "a length": len,
}
WRITES = {
    "an item": lambda key: key.__setitem__(0, 1),
    "a slice": lambda key: key.__setitem__(slice(0, 2), b"xy"),
    "a take of it": SecureBytes.take,
}


@pytest.mark.parametrize("size", SIZES)
def test_the_byte_behind_a_guarded_object_is_no_memory(size):
    key = SecureBytes(size, guarded=True)
    assert len(key) == size
    if size:
        address = capi.address_of(key)
        assert maps.mapping_at(address).is_secret
        assert maps.mapping_at(address).end == address + size
        assert maps.mapping_at(address + size).is_closed
        assert maps.mapping_at(maps.mapping_at(address).start - 1).is_closed


def test_it_holds_what_it_was_made_from():
    assert SecureBytes(b"secret", guarded=True) == b"secret"
    assert SecureBytes("sécret", "utf-8", guarded=True) == "sécret".encode()
    assert SecureBytes.random(40, guarded=True).guarded
    assert not SecureBytes(b"secret").guarded


@pytest.mark.parametrize("access", ["noaccess", "readonly"])
@pytest.mark.parametrize("write", WRITES, ids=str)
def test_no_write_gets_through_a_protection(access, write):
    key = SecureBytes(b"abcd", guarded=True)
    getattr(key, access)()
    with pytest.raises(ProtectedError, match=access):
        WRITES[write](key)
    key.readwrite()
    assert key == b"abcd"
    WRITES[write](key)
    assert key != b"abcd"


@pytest.mark.parametrize("access", ["noaccess", "readonly"])
def test_a_consumer_that_wants_to_write_is_refused(access):
    key = SecureBytes(b"abcd", guarded=True)
    getattr(key, access)()
    for consume in (lambda: struct.pack_into("B", key, 0, 1), lambda: io.BytesIO(b"x").readinto(key)):
        with pytest.raises((TypeError, ProtectedError)):
            consume()
    with key.unlocked():
        assert key == b"abcd"


@pytest.mark.parametrize("read", READS, ids=str)
def test_a_read_gets_through_readonly_and_not_through_noaccess(read):
    key = SecureBytes(b"abcd", guarded=True)
    key.readonly()
    READS[read](key)
    gc.collect()
    key.noaccess()
    with pytest.raises(ProtectedError, match="noaccess"):
        READS[read](key)
    key.readwrite()
    READS[read](key)


def test_the_pages_are_protected_not_the_python_object_only():
    key = SecureBytes(b"abcd", guarded=True)
    address = capi.address_of(key)
    gc.collect()
    assert maps.mapping_at(address).access.startswith("rw-")
    key.readonly()
    assert maps.mapping_at(address).access.startswith("r--")
    key.noaccess()
    assert maps.mapping_at(address).access.startswith("---")


def test_unlocked_blocks_nest_and_restore_what_was():
    key = SecureBytes(b"abcd", guarded=True)
    for protect in (key.noaccess, key.readonly):
        protect()
        with key.unlocked() as same:
            assert same is key
            with key.unlocked():
                key[0] = 65
            assert key[0] == 65
            key[0] = 97
        with pytest.raises(ProtectedError):
            key[0] = 1
        key.readwrite()


def test_unlocked_blocks_of_other_threads_are_counted():
    key = SecureBytes(b"abcd", guarded=True)
    key.noaccess()
    inside, leave = threading.Event(), threading.Event()

    def other():
        with key.unlocked():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait()
    with key.unlocked():
        assert key == b"abcd"
    assert key == b"abcd"  # the other block is still open
    leave.set()
    thread.join()
    with pytest.raises(ProtectedError):
        bytes(key)


def test_a_view_pins_the_protection():
    key = SecureBytes(b"abcd", guarded=True)
    view = memoryview(key)
    with pytest.raises(BufferError):
        key.noaccess()
    assert bytes(view) == b"abcd"
    view.release()
    key.noaccess()
    with key.unlocked():
        view = memoryview(key)
    assert bytes(view) == b"abcd"  # held open, as promised
    view.release()
    with pytest.raises(ProtectedError):
        bytes(key)


def test_a_view_of_a_readonly_object_is_readonly():
    key = SecureBytes(b"abcd", guarded=True)
    key.readonly()
    assert memoryview(key).readonly


def test_a_readonly_view_that_is_out_keeps_nobody_from_writing():
    key = SecureBytes(b"abcd", guarded=True)
    key.readonly()
    view = memoryview(key)
    with key.unlocked():
        key[0] = 65
    view.release()
    with pytest.raises(ProtectedError):
        key[0] = 66
    view = memoryview(key)
    key.readwrite()
    key[1] = 66
    assert (bytes(view), view.readonly) == (b"ABcd", True)


@pytest.mark.parametrize("access", ["noaccess", "readonly", "readwrite"])
def test_it_can_be_dropped_and_wiped_in_any_state(access):
    before = stats().live
    for finish in (lambda key: None, SecureBytes.wipe):
        key = SecureBytes(b"abcd" * 3000, guarded=True)
        getattr(key, access)()
        finish(key)
        del key
    assert stats().live == before


def test_what_is_not_guarded_cannot_be_protected():
    key = SecureBytes(4)
    for call in (key.noaccess, key.readonly, key.readwrite, key.unlocked().__enter__):
        with pytest.raises(TypeError, match="guarded=True"):
            call()


def test_a_wiped_one_is_wiped():
    key = SecureBytes(4, guarded=True)
    key.wipe()
    for call in (key.noaccess, key.unlocked().__enter__):
        with pytest.raises(WipedError):
            call()


@given(st.lists(st.tuples(st.integers(0, 20_000), st.sampled_from(["noaccess", "readonly", "readwrite"])), max_size=12))
def test_many_of_them_leave_the_heap_whole(wishes):
    heap = Heap("guarded")
    keys = []
    for size, access in wishes:
        keys.append(SecureBytes(bytes([size & 255]) * size, heap=heap, guarded=True))
        getattr(keys[-1], access)()
    assert heap.stats().live == len(wishes)
    assert heap.is_valid()
    for key, (size, _) in zip(keys, wishes, strict=True):
        with key.unlocked():
            assert key == bytes([size & 255]) * size
    key = None
    keys.clear()
    heap.trim()
    assert heap.stats().committed == 0


@pytest.mark.parametrize("policy", ["isolate", "copy"])
def test_a_fork_finds_each_in_its_state(policy):
    succeed(
        """
        import os, sys
        from secalloc import ForkedError, Heap, ProtectedError, SecureBytes
        heap = Heap("forked", on_fork=sys.argv[1])
        keys = [SecureBytes(b"abcd", heap=heap, guarded=True) for _ in range(3)]
        keys[0].noaccess()
        keys[1].readonly()
        pid = os.fork()
        if pid == 0:
            for key, expected in zip(keys, (ProtectedError, None, None)):
                try:
                    bytes(key)
                    seen = None
                except (ForkedError, ProtectedError) as error:
                    seen = type(error)
                assert seen is (ForkedError if sys.argv[1] == "isolate" else expected), (key, seen)
            if sys.argv[1] == "copy":
                with keys[0].unlocked():
                    assert keys[0] == b"abcd"
            keys.clear()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        """,
        policy,
    )


# --- from C ---


def test_c_gets_zeroed_memory_that_ends_at_a_guard_page():
    for size in (1, 32, 4_096, 100_000):
        p = capi.guarded_alloc(size)
        assert maps.mapping_at(p).end == p + size
        assert capi.usable_size(p) == size
        assert capi.read(p, size) == bytes(size)
        capi.free(p)


def test_objects_of_size_zero_are_unique_and_own_no_byte():
    live = [capi.guarded_alloc(0) for _ in range(20)]
    assert None not in live
    assert len(set(live)) == 20
    for p in live:
        assert maps.mapping_at(p).is_closed
        assert maps.mapping_at(p - 1).is_secret
        assert capi.usable_size(p) == 0
        assert capi.owns(p)
        capi.free(p)


def test_a_thousand_sizes_are_filled_made_readonly_and_freed():
    rng = random.Random(3)
    before = stats().live
    for i in range(1_000):
        size = rng.randrange(100_000)
        p = capi.guarded_alloc(size)
        capi.write(p, bytes([i & 255]) * size)
        assert capi.protect(p, capi.READONLY) == 0
        capi.free(p)
    assert stats().live == before


def test_realloc_answers_a_guarded_object_too():
    p = capi.guarded_alloc(5)
    capi.write(p, b"abcde")
    for size in (5_000, 3, 0, 8):
        p = capi.realloc(p, size)
        assert maps.mapping_at(p if size == 0 else p + size).is_closed
        assert capi.usable_size(p) == size
    assert capi.read(p, 8) == bytes(8)
    capi.free(p)


@pytest.mark.parametrize("size", [2**47, 2**63, capi.SIZE_MAX - 1, capi.SIZE_MAX])
def test_an_absurd_size_is_null_with_enomem(size):
    before = stats().committed_peak
    assert capi.errno_of(capi.guarded_alloc, size) == errno.ENOMEM
    assert stats().committed_peak == before


@pytest.mark.parametrize("access", [-1, 3, 7, 2**31 - 1])
def test_an_access_that_is_none_is_refused_with_einval(access):
    p = capi.guarded_alloc(4)
    capi.ctypes.set_errno(0)
    assert capi.protect(p, access) == -1
    assert capi.ctypes.get_errno() == errno.EINVAL
    assert capi.protect(p, capi.READWRITE) == 0
    capi.free(p)
