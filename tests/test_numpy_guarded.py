"""Layer 5: guarded arrays: the last byte is the last before a guard page; their `SecureBytes` has the protections."""
import gc
import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import maps
from support.children import die
from support.fixtures import guest, guest_folder, nothing_leaks  # noqa: F401
from support.scenarios import PRELUDE

import secalloc.numpy as snp
from secalloc import Heap, HeapLimitError, ProtectedError

MAKE = {
    "empty": lambda **named: snp.empty((3, 5), **named), "zeros": lambda **named: snp.zeros((3, 5), "i2", **named),
    "ones": lambda **named: snp.ones(7, order="F", **named), "full": lambda **named: snp.full((2, 3), 2.5, **named),
    "array": lambda **named: snp.array([[1, 2], [3, 4]], "f4", **named),
    "random": lambda **named: snp.random(11, "u4", **named), "no dimension": lambda **named: snp.ones((), **named),
    "Fortran's order": lambda **named: snp.array(np.arange(6).reshape(2, 3).T, **named),
    "whole pages": lambda **named: snp.ones(1_024, **named), "large": lambda **named: snp.ones(100_001, "u1", **named),
    "dates": lambda **named: snp.array(["2020-02-02"], "M8[s]", **named),
    "structured": lambda **named: snp.ones(3, "i4,S3", **named),
}  # fmt: skip


def span_of(a):
    first = a.__array_interface__["data"][0]
    return first, first + a.nbytes


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_a_guarded_array_ends_at_a_page_that_nobody_may_touch(make):
    a = make(guarded=True)
    first, end = span_of(a)
    assert end % 4_096 == 0
    assert maps.mapping_at(end).is_closed
    assert maps.mapping_at(end - 1).is_secret
    assert maps.mapping_at(maps.mapping_at(first).start - 1).is_closed
    assert first % min(a.itemsize & -a.itemsize, 64) == 0  # aligned as its items are
    assert snp.owner(a).guarded
    plain = make()
    assert (a.shape, a.dtype, a.strides) == (plain.shape, plain.dtype, plain.strides)
    if make is not MAKE["random"]:
        assert a.tobytes() == plain.tobytes()
    assert snp.owner(plain) is None


@given(st.lists(st.integers(0, 60), max_size=3), st.sampled_from(["u1", "f8", "S3", "i2,f8"]), st.sampled_from("CF"))
def test_any_shape_can_be_guarded(shape, dtype, order):
    a = snp.ones(tuple(shape), dtype, order, guarded=True)
    plain = np.ones(tuple(shape), dtype, order)
    assert (a.shape, a.dtype) == (plain.shape, plain.dtype)
    assert (a.flags.c_contiguous, a.flags.f_contiguous) == (plain.flags.c_contiguous, plain.flags.f_contiguous)
    assert a.tobytes() == plain.tobytes()
    assert maps.mapping_at(span_of(a)[1]).is_closed


def test_it_lives_in_the_heap_and_the_source_of_its_copy_is_gone():
    heap = Heap("guarded", limit="256 KiB")
    a = snp.array([1, 2, 3], guarded=True, heap=heap)
    assert heap.stats().live == 1
    assert snp.owner(a).heap is heap
    with pytest.raises(HeapLimitError):
        snp.zeros(10_000_000, guarded=True, heap=heap)
    with pytest.raises(ValueError, match="copy"):
        snp.array(a, copy=False, guarded=True, heap=heap)
    del a
    gc.collect()
    assert heap.stats().live == 0


def test_an_array_keeps_the_protection_away_and_without_one_it_can_be_set():
    a = snp.full(3, 1.5, guarded=True)
    key, view = snp.owner(a), a[1:]
    del a
    gc.collect()
    for protect in (key.noaccess, key.readonly):
        with pytest.raises(BufferError):
            protect()
    view[:] = 2.5
    del view
    key.noaccess()
    with pytest.raises(ProtectedError):
        snp.frombuffer(key)
    with key.unlocked():
        a = snp.frombuffer(key)
        assert a.tolist() == [1.5, 2.5, 2.5]
    assert a.sum() == 6.5  # a view that is out holds the block open, as of any SecureBytes
    del a
    with pytest.raises(ProtectedError):
        bytes(key)


def test_a_readonly_one_gives_arrays_that_refuse_to_be_written():
    a = snp.arange(5)
    key = snp.owner(snp.array(a, guarded=True))
    key.readonly()
    b = snp.frombuffer(key, a.dtype)
    assert (b == a).all()
    with pytest.raises(ValueError, match="read-only"):
        b[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        snp.wipe(b)
    with pytest.raises(ValueError, match="WRITEABLE"):
        b.flags.writeable = True


def test_wiping_its_owner_zeroes_the_array():
    a = snp.ones(5, guarded=True)
    snp.owner(a).wipe()
    assert not a.any()


# --- what an extension does to it ---


def test_an_extension_uses_it_like_any_other(guest):  # noqa: F811
    a = snp.ones(5, guarded=True)
    guest.put(a, 4, 3)
    assert (guest.total(a), guest.peek(a, 4)) == (7, 3)


@pytest.mark.parametrize(
    ("setup", "misuse"),
    [
        ("a = snp.ones(5, guarded=True)", "guest.put(a, 5, 1)"),
        ("a = snp.ones(5, guarded=True)", "guest.peek(a, 5)"),
        ("a = snp.ones(100_000, guarded=True)", "guest.put(a, 100_000, 1)"),
        ("a = snp.array([1.5], guarded=True)[:]", "guest.put_unasked(a, 1, 1)"),
        ("a = snp.zeros(0, guarded=True)", "guest.put_unasked(a, 0, 1)"),
        ("a = snp.ones(5, guarded=True); b = np.lib.stride_tricks.as_strided(a, (6,))", "b += 1"),
        ("key = snp.owner(snp.ones(5, guarded=True)); key.readonly(); a = snp.frombuffer(key)",
         "guest.put_unasked(a, 0, 1)"),
    ],
)  # fmt: skip
def test_an_overrun_in_an_extension_ends_the_process_at_once(setup, misuse, guest_folder):  # noqa: F811
    die(
        f"""{PRELUDE}
import sys; sys.path.insert(0, {str(guest_folder)!r})
import arrayguest as guest, numpy as np, secalloc.numpy as snp
{setup}
guest.total(a)
print("ready", flush=True)
{misuse}
""",
        by=signal.SIGSEGV,
    )
