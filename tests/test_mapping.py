"""Layer 1: pages, guards, descriptors, and a machine that refuses each of them."""
import errno
import os
import resource

import pytest
from support import capi, maps
from support.children import succeed

from secalloc import Heap, SecretMemoryUnavailable, SecureBytes
from secalloc_ext.heapobject import probe

SMALL, LARGE = 32, 300_000


@pytest.fixture(params=[SMALL, LARGE], ids=["small", "large"])
def size(request):
    return request.param


@pytest.fixture(params=["secretmem", "mlock"])
def backend(request):
    return request.param


@pytest.fixture
def object_at(size, backend):
    """The address of a live object, of a slab and of a large one, under each backend."""
    key = SecureBytes(size, heap=Heap("mapped", backend=backend))
    yield capi.address_of(key)
    assert len(key) == size


# --- what a piece is like ---


def test_memfd_secret_works_on_this_machine():
    assert probe() is None


@pytest.mark.parametrize("flags", [1, 2, 0x80, 0x7000_0000])
def test_unknown_flags_are_an_error_that_names_them_and_the_kernel(flags):
    failure = probe(flags=flags)
    assert type(failure) is SecretMemoryUnavailable
    assert failure.errno == errno.EINVAL
    assert f"{flags:#x}" in str(failure)
    assert os.uname().release in str(failure)


def test_the_default_heap_fails_with_the_flags_it_was_configured_with():
    succeed(
        """
        import errno, secalloc
        secalloc.configure(flags=4, backend="secretmem")
        for _ in range(2):
            try:
                secalloc.SecureBytes(1)
                raise SystemExit("not refused")
            except secalloc.SecretMemoryUnavailable as error:
                assert error.errno == errno.EINVAL and "0x4" in str(error), error
        """
    )


def test_objects_lie_on_pages_of_their_backend(object_at, backend):
    assert maps.backend_at(object_at) == backend
    assert maps.mapping_at(object_at).access == {"secretmem": "rw-s", "mlock": "rw-p"}[backend]


def test_ordinary_objects_do_not_lie_on_pages_of_any_backend():
    assert maps.backend_at(id(object())) is None


def test_secret_pages_are_not_for_forked_children(object_at):
    assert "dc" in maps.flags_at(object_at)  # VM_DONTCOPY
    assert "dc" not in maps.flags_at(id(object()))


def test_secret_pages_are_locked_and_left_out_of_core_dumps(object_at):
    assert {"lo", "dd"} <= maps.flags_at(object_at)
    assert not {"lo", "dd"} & maps.flags_at(id(object()))


def test_the_address_space_around_is_left_out_of_core_dumps_too(object_at):
    """A debugger's gcore writes all that is not marked so, reserved or not: a file of 1 TiB."""
    around = maps.mapping_at(object_at)
    assert "dd" in maps.flags_at(around.start - 1)
    assert "dd" in maps.flags_at(around.end)
    SecureBytes(5_000_000).wipe()
    assert "dd" not in maps.flags_at(id(object()))  # the control


def test_no_page_before_or_behind_an_object_is_accessible(object_at):
    around = maps.mapping_at(object_at)
    assert maps.mapping_at(around.start - 1).is_closed
    assert maps.mapping_at(around.end).is_closed


def test_every_secret_mapping_of_a_busy_heap_stands_between_closed_pages(backend):
    """In a process of its own: what is revealed has its header on an ordinary page before."""
    succeed(
        """
        import sys
        from secalloc import Heap, SecureBytes
        from support import maps
        heap = Heap("guards", backend=sys.argv[1])
        keep = [SecureBytes(size, heap=heap) for size in (1, 100, 5_000, 16_392, 16_393, 70_000, 200_000) * 10]
        every = maps.mappings()
        secret = [i for i, mapping in enumerate(every) if mapping.is_secret]
        assert len(secret) >= 30
        for i in secret:
            before, here, after = every[i - 1 : i + 2]
            assert (before.end, before.is_closed) == (here.start, True)
            assert (after.start, after.is_closed) == (here.end, True)
        """,
        backend,
    )


# --- descriptors ---


def test_growth_leaves_no_descriptor_open():
    before = maps.descriptors()
    heap = Heap("descriptors", backend="secretmem")  # the other opens none
    keep = [SecureBytes(size, heap=heap) for size in (10, 1_000, 20_000, 2_000_000)]
    assert maps.descriptors() == before
    assert heap.stats().chunks >= len(keep)


@pytest.mark.parametrize("limit", [0, 100_000])
def test_failed_growth_leaves_no_descriptor_open_and_nothing_mapped(limit, backend):
    succeed(
        """
        import sys, secalloc
        from support import hostile, maps
        secalloc.configure(backend=sys.argv[2])
        secret = secalloc.SecureBytes(32)
        hostile.become_ordinary_user()
        hostile.limit("RLIMIT_MEMLOCK", int(sys.argv[1]))
        before = maps.descriptors(), maps.secret_mappings()
        for size in (200_000, 3_000_000):
            try:
                secalloc.SecureBytes(size)
                raise SystemExit("not refused")
            except secalloc.MemlockLimitError:
                pass
        assert (maps.descriptors(), maps.secret_mappings()) == before
        """,
        limit, backend,
    )  # fmt: skip


# --- what the kernel does not give ---


@pytest.mark.parametrize(
    ("code", "remedies"),
    [
        (errno.ENOSYS, ("5.14", "secretmem.enable=1", "rodata=full", "gVisor")),
        (errno.EPERM, ("seccomp", "memfd_secret")),
    ],
    ids=["ENOSYS", "EPERM"],
)
def test_a_refused_system_call_is_an_error_with_its_own_remedy(code, remedies):
    message = succeed(
        """
        import sys, secalloc
        from support import hostile
        heap = secalloc.Heap("refused", backend="secretmem")
        assert secalloc.SecureBytes(32, heap=heap)  # the positive control: it was the filter
        heap.trim()
        hostile.refuse_memfd_secret(int(sys.argv[1]))
        for _ in range(2):
            try:
                secalloc.SecureBytes(32, heap=heap)
                raise SystemExit("not refused")
            except secalloc.SecretMemoryUnavailable as error:
                assert isinstance(error, OSError) and error.errno == int(sys.argv[1])
                message = str(error)
        print(message)
        assert heap.is_valid() and heap.stats().committed == 0
        """,
        code,
    )
    for remedy in remedies:
        assert remedy in message


def test_no_secret_memory_is_no_ordinary_memory_either():
    succeed(
        """
        import errno, secalloc
        from support import capi, hostile
        secalloc.configure(backend="secretmem")
        hostile.refuse_memfd_secret(errno.ENOSYS)
        assert capi.errno_of(capi.malloc, 32) == errno.ENOMEM
        import secalloc.numpy as snp
        try:
            snp.zeros(10)
            raise SystemExit("not refused")
        except secalloc.SecretMemoryUnavailable:
            pass
        """
    )


def test_a_limit_of_file_sizes_is_an_error_that_names_it_and_small_objects_go_on():
    """A secretmem file is a file: ftruncate(2) heeds RLIMIT_FSIZE."""
    succeed(
        """
        import resource, secalloc
        from support import hostile, maps
        secalloc.configure(backend="secretmem")
        hostile.limit("RLIMIT_FSIZE", 8192)
        before = maps.descriptors()
        try:
            secalloc.SecureBytes(100_000)
            raise SystemExit("not refused")
        except secalloc.AllocationError as error:
            assert "RLIMIT_FSIZE" in str(error), error
        assert maps.descriptors() == before
        assert secalloc.SecureBytes(b"works") == b"works"
        """
    )


@pytest.mark.parametrize("retain", ["32 MiB", "128 MiB"])
def test_pages_of_an_object_too_big_to_keep_are_not_touched_to_wipe_them(retain):
    """There may be no memory for those that were never touched. What is kept for reuse is wiped: the control."""
    heap = Heap("sparse", retain=retain, backend="secretmem")
    key = SecureBytes(64 << 20, heap=heap)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del key
    touched = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert touched < 100 if retain == "32 MiB" else touched >= (64 << 20) // 4096 - 1
    assert (heap.stats().large_free, heap.stats().live) == (int(retain == "128 MiB"), 0)
    assert heap.is_valid()


@pytest.mark.parametrize("kept", [1, 20])
def test_a_heap_whose_pages_cannot_be_released_keeps_them_and_goes_on(kept):
    succeed(
        """
        import sys
        from secalloc import Heap, SecureBytes
        from support import hostile
        for _ in range(5):  # until Python gave no mapping of its own back meanwhile
            heap = Heap("full", prefault=False)  # whose thread would add a chunk, and end with its stack
            keys = [SecureBytes(3000, heap=heap) for _ in range(8000)]  # in chunks of several sizes
            large = [SecureBytes(100_000, heap=heap) for _ in range(3)]
            del keys[int(sys.argv[1]):], large
            committed = heap.stats().committed
            with hostile.NoMappingLeft(and_one_more=True) as left:
                heap.trim()
                if left.is_full():
                    break
        else:
            raise SystemExit("mappings were given back each time")
        assert heap.stats().committed == committed
        assert heap.is_valid()
        heap.trim()
        assert heap.stats().committed < committed
        """,
        kept,
    )
