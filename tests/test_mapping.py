"""Layer 1: pages, guards, descriptors, and a machine that refuses each of them."""
import errno
import os
import resource

import pytest
from support import capi, maps
from support.children import succeed

import secalloc
from secalloc import Heap, SecretMemoryUnavailable, SecureBytes
from secalloc_ext.heapobject import probe

SMALL, LARGE = 32, 300_000


@pytest.fixture(params=[SMALL, LARGE], ids=["small", "large"])
def size(request):
    return request.param


@pytest.fixture
def object_at(size):
    """The address of a live object, of a slab and of a large one."""
    pointer = capi.malloc(size)
    yield pointer
    capi.free(pointer)


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
        secalloc.configure(flags=4)
        for _ in range(2):
            try:
                secalloc.SecureBytes(1)
                raise SystemExit("not refused")
            except secalloc.SecretMemoryUnavailable as error:
                assert error.errno == errno.EINVAL and "0x4" in str(error), error
        """
    )


def test_objects_lie_on_pages_of_memfd_secret(object_at):
    assert maps.mapping_at(object_at).is_secret
    assert maps.mapping_at(object_at).access == "rw-s"


def test_ordinary_objects_do_not_lie_on_pages_of_memfd_secret():
    assert not maps.mapping_at(id(object())).is_secret


def test_secret_pages_are_not_for_forked_children(object_at):
    assert "dc" in maps.flags_at(object_at)  # VM_DONTCOPY
    assert "dc" not in maps.flags_at(id(object()))


def test_secret_pages_are_locked_and_left_out_of_core_dumps(object_at):
    assert {"lo", "dd"} <= maps.flags_at(object_at)


def test_the_address_space_around_is_left_out_of_core_dumps_too(object_at):
    """A debugger's gcore writes all that is not marked so, reserved or not: a file of 1 TiB."""
    around = maps.mapping_at(object_at)
    assert "dd" in maps.flags_at(around.start - 1)
    assert "dd" in maps.flags_at(around.end)
    capi.free(capi.malloc(5_000_000))
    assert "dd" not in maps.flags_at(id(object()))  # the control


def test_no_page_before_or_behind_an_object_is_accessible(object_at):
    around = maps.mapping_at(object_at)
    assert maps.mapping_at(around.start - 1).is_closed
    assert maps.mapping_at(around.end).is_closed


def test_every_secret_mapping_of_a_busy_heap_stands_between_closed_pages():
    heap = Heap("guards")
    keep = [SecureBytes(size, heap=heap) for size in (1, 100, 5_000, 16_392, 16_393, 70_000, 200_000) * 10]
    every = maps.mappings()
    secret = [i for i, mapping in enumerate(every) if mapping.is_secret]
    assert len(secret) >= 30
    for i in secret:
        before, here, after = every[i - 1 : i + 2]
        assert (before.end, before.is_closed) == (here.start, True)
        assert (after.start, after.is_closed) == (here.end, True)
    assert keep


# --- descriptors ---


def test_growth_leaves_no_descriptor_open():
    before = maps.descriptors()
    heap = Heap("descriptors")
    keep = [SecureBytes(size, heap=heap) for size in (10, 1_000, 20_000, 2_000_000)]
    assert maps.descriptors() == before
    assert heap.stats().chunks >= len(keep)


@pytest.mark.parametrize("limit", [0, 100_000])
def test_failed_growth_leaves_no_descriptor_open_and_nothing_mapped(limit):
    succeed(
        """
        import sys, secalloc
        from support import hostile, maps
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
        limit,
    )


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
        assert secalloc.SecureBytes(32)  # the positive control: it was the filter
        hostile.refuse_memfd_secret(int(sys.argv[1]))
        heap = secalloc.Heap("refused")
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


def test_the_auto_backend_falls_back_with_a_warning():
    succeed(
        """
        import errno, warnings, secalloc
        from support import hostile
        assert secalloc.Heap("before", backend="auto").backend == "secretmem"
        hostile.refuse_memfd_secret(errno.ENOSYS)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            heap = secalloc.Heap("after", backend="auto")
        assert [each.category for each in caught] == [secalloc.SecretMemoryWarning]
        assert secalloc.SecureBytes(32, heap=heap).backend == heap.backend == "mlock"
        """
    )


# --- limits ---


def test_a_limit_of_file_sizes_is_an_error_that_names_it_and_small_objects_go_on():
    """A secretmem file is a file: ftruncate(2) heeds RLIMIT_FSIZE."""
    succeed(
        """
        import resource, secalloc
        from support import hostile, maps
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


def test_a_memlock_limit_of_zero_is_an_error_with_numbers_and_remedies():
    message = succeed(
        """
        import secalloc
        from support import capi, hostile
        hostile.become_ordinary_user()
        hostile.limit("RLIMIT_MEMLOCK", 0)
        assert capi.errno_of(capi.malloc, 32) == __import__("errno").EAGAIN
        try:
            secalloc.SecureBytes(32)
            raise SystemExit("not refused")
        except secalloc.MemlockLimitError as error:
            assert isinstance(error, MemoryError)
            print(error)
        hostile.limit("RLIMIT_MEMLOCK", 1 << 20)
        assert secalloc.SecureBytes(b"works").copy() == b"works"
        """
    )
    for part in ("32 bytes", "limit is 0 bytes", "ulimit -l", "LimitMEMLOCK=", "--ulimit memlock="):
        assert part in message


@pytest.mark.parametrize("size", [32, 1_000, 16_000, 200_000])
def test_an_ordinary_user_uses_the_whole_memlock_limit_and_goes_on_after_frees(size):
    succeed(
        """
        import sys, secalloc
        from secalloc_ext.heapobject import DEFAULT
        from support import hostile, maps
        size, limit = int(sys.argv[1]), 8 << 20
        hostile.become_ordinary_user()
        hostile.limit("RLIMIT_MEMLOCK", limit)
        live = []
        try:
            while True:
                live.append(secalloc.SecureBytes(size))
        except secalloc.MemlockLimitError as error:
            assert f"{limit} bytes" in str(error), error
        stats = secalloc.stats()
        mapped = sum(each.end - each.start for each in maps.secret_mappings())
        assert stats.committed == mapped <= limit and mapped > limit - max(2 * size, 65536)
        assert stats.live == len(live)
        del live[::2]
        live += [secalloc.SecureBytes(size) for _ in range(len(live) // 2)]
        assert DEFAULT.is_valid()
        """,
        size,
    )


def test_150_000_secrets_of_32_bytes_fit_into_the_default_memlock_limit():
    succeed(
        """
        from support import capi, hostile
        hostile.become_ordinary_user()
        hostile.limit("RLIMIT_MEMLOCK", 8 << 20)
        count = 0
        while capi.malloc(32):
            count += 1
        assert count >= 150_000, count
        """
    )


def test_one_lone_key_is_charged_at_most_64_kib():
    succeed(
        """
        import secalloc
        key = secalloc.SecureBytes(32)
        assert 0 < secalloc.stats().committed <= 65536
        """
    )


@pytest.mark.parametrize("size", [32, 1_000_000])
def test_no_descriptor_left_at_growth_is_an_error_that_says_so(size):
    succeed(
        """
        import os, sys, secalloc
        from support import hostile
        size = int(sys.argv[1])
        first = secalloc.SecureBytes(b"kept")
        heap = secalloc.Heap("starved")
        hostile.limit("RLIMIT_NOFILE", 32)
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        try:
            secalloc.SecureBytes(size, heap=heap)
            raise SystemExit("not refused")
        except secalloc.AllocationError as error:
            assert "descriptor" in str(error) and "ulimit -n" in str(error), error
        os.close(taken.pop())
        assert len(secalloc.SecureBytes(size, heap=heap)) == size
        assert first == b"kept" and heap.is_valid()
        """,
        size,
        stdin=0,
    )


@pytest.mark.parametrize("size", [32, 20_000, 1_000_000])
def test_no_mapping_left_at_growth_is_an_error_that_says_so(size):
    succeed(
        """
        import sys, secalloc
        from support import hostile, maps
        size = int(sys.argv[1])
        first = secalloc.SecureBytes(b"kept")
        heap = secalloc.Heap("starved")
        before = maps.descriptors(), maps.secret_mappings()
        with hostile.NoMappingLeft():
            try:
                live = [secalloc.SecureBytes(size, heap=heap) for _ in range(10)]
                raise SystemExit("not refused")
            except secalloc.AllocationError as error:
                assert "vm.max_map_count" in str(error), error
        assert (maps.descriptors(), maps.secret_mappings()) == before
        assert len(secalloc.SecureBytes(size, heap=heap)) == size
        assert first == b"kept" and heap.is_valid()
        """,
        size,
    )


@pytest.mark.parametrize("retain", ["32 MiB", "128 MiB"])
def test_pages_of_an_object_too_big_to_keep_are_not_touched_to_wipe_them(retain):
    """There may be no memory for those that were never touched. What is kept for reuse is wiped: the control."""
    heap = Heap("sparse", retain=retain)
    key = SecureBytes(64 << 20, heap=heap)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del key
    touched = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert touched < 100 if retain == "32 MiB" else touched >= (64 << 20) // 4096
    assert (heap.stats().large_free, heap.stats().live) == (int(retain == "128 MiB"), 0)
    assert heap.is_valid()


@pytest.mark.parametrize("kept", [1, 20])
def test_a_heap_whose_pages_cannot_be_released_keeps_them_and_goes_on(kept):
    succeed(
        """
        import sys
        from secalloc import Heap, SecureBytes
        from support import hostile
        heap = Heap("full")
        keys = [SecureBytes(3000, heap=heap) for _ in range(8000)]  # in chunks of several sizes
        large = [SecureBytes(100_000, heap=heap) for _ in range(3)]
        del keys[int(sys.argv[1]):], large
        committed = heap.stats().committed
        with hostile.NoMappingLeft(and_one_more=True):
            heap.trim()
            assert heap.stats().committed == committed
        assert heap.is_valid()
        heap.trim()
        assert heap.stats().committed < committed
        """,
        kept,
    )


@pytest.mark.parametrize("megabytes", [350, 1_000, 4_000])
def test_a_limited_address_space_gets_a_smaller_reservation(megabytes):
    succeed(
        """
        import sys, secalloc
        from support import hostile, maps
        limit = int(sys.argv[1]) << 20
        hostile.limit("RLIMIT_AS", limit)
        before = maps.address_space()
        assert secalloc.SecureBytes(b"works") == b"works"
        assert maps.address_space() <= limit
        """,
        megabytes,
    )


def test_too_little_address_space_is_an_error_that_says_so_and_passes():
    succeed(
        """
        import secalloc
        from support import hostile, maps
        import resource
        hostile.limit("RLIMIT_AS", maps.address_space() + (8 << 20))
        try:
            secalloc.SecureBytes(32)
            raise SystemExit("not refused")
        except secalloc.AllocationError as error:
            message = str(error)
        hostile.limit("RLIMIT_AS", resource.RLIM_INFINITY)
        assert "address space" in message and "RLIMIT_AS" in message, message
        assert secalloc.SecureBytes(b"works") == b"works"
        """
    )


def test_too_little_address_space_leaves_nothing_reserved():
    succeed(
        """
        import secalloc
        from support import hostile, maps
        before = maps.address_space()
        hostile.limit("RLIMIT_AS", before + (8 << 20))
        for _ in range(5):
            try:
                secalloc.SecureBytes(32)
                raise SystemExit("not refused")
            except secalloc.AllocationError:
                pass
        assert maps.address_space() < before + (4 << 20), (maps.address_space() - before) >> 20
        """
    )


def test_what_one_heap_keeps_for_reuse_does_not_starve_another():
    """The memlock limit is for all heaps: what none of them uses must be had by each of them."""
    succeed(
        """
        import secalloc
        from support import hostile
        hostile.become_ordinary_user()
        hostile.limit("RLIMIT_MEMLOCK", 8 << 20)
        heap = secalloc.Heap("other")
        del (many := [secalloc.SecureBytes(100) for _ in range(20_000)])[:]
        del (large := [secalloc.SecureBytes(1 << 20) for _ in range(4)])[:]
        assert secalloc.stats().live == 0
        assert len(secalloc.SecureBytes(6 << 20, heap=heap)) == 6 << 20
        """
    )


def test_a_heap_s_own_limit_is_an_error_with_numbers_and_passes_after_frees():
    heap = Heap("limited", limit="1 MiB")
    live = []
    with pytest.raises(secalloc.HeapLimitError, match="limit is 1048576 bytes"):
        live.extend(SecureBytes(1_000, heap=heap) for _ in range(2_000))
    assert heap.stats().committed <= 1 << 20
    assert len(live) > 900
    del live[:100]
    live += [SecureBytes(1_000, heap=heap) for _ in range(100)]
    assert heap.is_valid()


def test_255_heaps_beside_the_default_one_can_live_at_once_and_closed_ones_make_room():
    succeed(
        """
        import secalloc
        heaps = []
        for _ in range(2):
            try:
                while True:
                    heaps.append(secalloc.Heap(str(len(heaps))))
            except secalloc.AllocationError as error:
                assert "too many heaps" in str(error)
            assert len(heaps) == 255
            del heaps[100:]
        """
    )
