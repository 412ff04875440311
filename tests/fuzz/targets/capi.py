"""The C API, as a C program would call it, beside a dict of what each pointer holds; with sizes that no machine has,
too."""
import errno

from hypothesis import given
from hypothesis import strategies as st
from support import capi

from fuzz.behaviour import saw, size
from fuzz.values import EDGES
from fuzz.ways import Ways
from secalloc_ext.heapobject import DEFAULT

SIZES = st.one_of(st.integers(0, 300), st.integers(0, 300), st.sampled_from(EDGES), st.sampled_from(EDGES))
# No product of two, and no sum with a page, is a size that might be had.
ABSURD = st.sampled_from(
    [2**46, 2**47 - 4096, 2**62, 2**63 - 1, 2**63, 2**64 - 4096, 2**64 - 17, 2**64 - 16, 2**64 - 8, 2**64 - 1]
)
WHICH = st.integers(0, 255)
way = Ways()


class Model:
    """`held`: by pointer, what it holds."""

    def __init__(self):
        self.held = {}
        self.serial = 0
        self.before = DEFAULT.stats()

    def content(self, size):
        self.serial += 1
        return ((self.serial * 2_654_435_761 % 2**32).to_bytes(4, "little") * (size // 4 + 1))[:size]

    def adopt(self, pointer, size, kept=b""):
        assert pointer is not None, "there is no memory"
        assert pointer not in self.held, "the pointer is somebody's already"
        assert capi.owns(pointer)
        assert capi.usable_size(pointer) == size
        assert capi.read(pointer, size) == kept[:size] + bytes(max(0, size - len(kept))), "it holds something else"
        self.held[pointer] = self.content(size)
        capi.write(pointer, self.held[pointer])

    def pick(self, which):
        return list(self.held)[which % len(self.held)] if self.held else None

    def check(self):
        stats = DEFAULT.stats()
        assert stats.live - self.before.live == len(self.held), "not what lives"
        assert stats.live_bytes - self.before.live_bytes == sum(map(len, self.held.values())), "not as many bytes"
        for pointer, content in self.held.items():
            assert capi.usable_size(pointer) == len(content)  # ends the process at a damaged canary
            assert capi.read(pointer, len(content)) == content, "it holds something else"


def refused(name, call, *arguments):
    code = capi.errno_of(call, *arguments)
    saw(name, code)
    assert code in (errno.ENOMEM, errno.EAGAIN, errno.EINVAL), f"{name} fails with errno {code}"


@way(SIZES)
def malloc(model, count):
    pointer = capi.malloc(count)
    saw("malloc", size(count))
    assert pointer % 16 == 0
    model.adopt(pointer, count)


@way(st.integers(0, 9), SIZES, st.booleans())
def calloc(model, n, count, swapped):
    saw("calloc", n, size(count))
    model.adopt(capi.calloc(*((count, n) if swapped else (n, count))), n * count)


@way(st.integers(0, 22), SIZES)
def aligned_alloc(model, shift, count):
    pointer = capi.aligned_alloc(1 << shift, count)
    saw("aligned_alloc", shift, pointer is None)
    if pointer is None:
        assert shift > 12, "so small an alignment is to be had"
        return
    assert pointer % (1 << shift) == 0
    model.adopt(pointer, count)


@way(SIZES)
def guarded_alloc(model, count):
    saw("guarded_alloc", size(count))
    model.adopt(capi.guarded_alloc(count), count)


@way(WHICH, SIZES)
def realloc(model, which, count):
    """Of NULL it is malloc."""
    pointer = model.pick(which)
    content = model.held.get(pointer, b"")
    moved = capi.realloc(pointer, count)
    saw("realloc", pointer is None, size(len(content)), size(count), moved == pointer)
    model.held.pop(pointer, None)
    model.adopt(moved, count, content)


@way(WHICH, ABSURD)
def realloc_absurd(model, which, count):
    """The old block stays as it was."""
    refused("realloc", capi.realloc, model.pick(which), count)


@way(ABSURD)
def malloc_absurd(model, count):
    refused("malloc", capi.malloc, count)
    refused("guarded_alloc", capi.guarded_alloc, count)


@way(ABSURD, st.one_of(ABSURD, st.integers(1, 300)), st.booleans())
def calloc_absurd(model, n, count, swapped):
    refused("calloc", capi.calloc, *((count, n) if swapped else (n, count)))


@way(st.sampled_from([2**32 + 1, 2**33, 3 * 2**62, 0xAAAAAAAAAAAAAAAB, 2**63 + 1]), st.integers(2, 6))
def calloc_overflowing(model, n, factor):
    """What is left of the product is small."""
    count = -(-(2**64) // n) * factor % 2**64
    if n * count >= 2**62:
        refused("calloc overflowing", capi.calloc, n, count)


@way(st.one_of(st.sampled_from([0, 3, 24, 2**63 + 1, 2**64 - 1]), ABSURD), SIZES)
def aligned_alloc_wrong(model, alignment, count):
    refused("aligned_alloc", capi.aligned_alloc, alignment, count)


@way(ABSURD, st.integers(0, 12))
def aligned_alloc_absurd(model, count, shift):
    refused("aligned_alloc", capi.aligned_alloc, 1 << shift, count)


@way(WHICH, st.integers(1, 20))
def free(model, which, times):
    """And of NULL, which is nothing."""
    for _ in range(times):
        pointer = model.pick(which)
        model.held.pop(pointer, None)
        capi.free(pointer)


@way(st.one_of(st.none(), st.integers(0, 2**64 - 1), st.sampled_from([1, 8, 4095, 2**47, 2**64 - 1])))
def owns(model, pointer):
    """An address from nowhere is none of ours, unless it is."""
    if capi.owns(pointer):
        assert pointer is not None
    saw("owns", pointer is None)


@way(WHICH, st.sampled_from([1, 8, 15]))
def interior(model, which, offset):
    pointer = model.pick(which)
    if pointer is not None and offset < len(model.held[pointer]):
        assert capi.owns(pointer + offset)


@way()
def trim(model):
    DEFAULT.trim()


@given(way.lists(16))
def check(steps):
    model = Model()
    try:
        for step in steps:
            way.go(step, model)
            model.check()
    finally:
        for pointer in model.held:
            capi.free(pointer)
