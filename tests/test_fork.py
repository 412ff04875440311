"""Layer 3: what a forked child has of its parent's secrets under the policy "isolate": nothing, and no trouble either.

Each test forks in a process of its own, as fork with live threads must not meet pytest's.
"""
import textwrap

import pytest
from support.children import die, succeed

PRELUDE = """
import os, signal, sys, threading, warnings, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
warnings.simplefilter("ignore", DeprecationWarning)   # of fork with threads
import secalloc
from secalloc import ForkedError, Heap, SecureBytes
from secalloc_ext.heapobject import DEFAULT
from support import capi, maps
from support.forking import forked, raises

SECRET = b"correct horse battery staple"
"""


def fork(program):
    succeed(PRELUDE + textwrap.dedent(program))


USES = {
    "len": "len", "bytes": "bytes", "index": "lambda key: key[0]", "slice": "lambda key: key[1:]", "list": "list",
    "memoryview": "memoryview", "copy": "SecureBytes.copy", "construction": "SecureBytes", "take": "SecureBytes.take",
    "equality": "lambda key: key == b'x'", "with": "lambda key: key.__enter__()",
    "item assignment": "lambda key: key.__setitem__(0, 1)",
}  # fmt: skip


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_use_of_an_inherited_object_is_a_forked_error(use):
    fork(
        f"""
        key = SecureBytes(SECRET)
        def child():
            raises(ForkedError, {use}, key)
        ({use})(key)  # the control: it works here
        key = SecureBytes(SECRET)
        forked(child)
        assert key == SECRET
        """
    )


def test_the_parent_s_pages_are_closed_in_the_child():
    fork(
        """
        keep = [capi.malloc(size) for size in (1, 100, 5_000, 100_000)]
        def child():
            assert maps.secret_mappings() == []
            assert all(maps.mapping_at(each).is_closed for each in keep)
        assert all(maps.mapping_at(each).is_secret for each in keep)
        forked(child)
        assert all(maps.mapping_at(each).is_secret for each in keep)
        """
    )


@pytest.mark.parametrize("size", [32, 100_000])
def test_reading_an_inherited_address_is_a_fault(size):
    fork(
        f"""
        pointer = capi.malloc({size})
        capi.write(pointer, SECRET)
        assert capi.read(pointer, len(SECRET)) == SECRET
        forked(lambda: capi.read(pointer, 1), by=signal.SIGSEGV)
        """
    )


def test_reading_an_inherited_array_is_a_fault():
    fork(
        """
        import secalloc.numpy as snp
        a = snp.ones(10)
        forked(lambda: a.sum(), by=signal.SIGSEGV)
        assert a.sum() == 10
        """
    )


def test_a_child_frees_inherited_objects_without_effect():
    fork(
        """
        import gc, secalloc.numpy as snp
        small, large = capi.malloc(32), capi.malloc(100_000)
        keys = [SecureBytes(SECRET), SecureBytes(100_000)]
        arrays = [snp.ones(10), snp.ones(100_000)]
        views = [memoryview(keys[0])]
        def child():
            capi.free(small)
            capi.free(large)
            capi.free(small)
            views.clear()
            keys[0].wipe()
            keys.clear()
            arrays.clear()
            gc.collect()
            assert DEFAULT.is_valid() and secalloc.stats().live == 0
        forked(child)
        assert keys[0] == SECRET and arrays[1].sum() == 100_000 and DEFAULT.is_valid()
        assert capi.usable_size(small) == 32 and secalloc.stats().live == 6
        """
    )


def test_realloc_of_an_inherited_object_is_null_and_its_size_nothing():
    fork(
        """
        import errno
        small, large = capi.malloc(32), capi.malloc(100_000)
        def child():
            for pointer in (small, large):
                assert capi.errno_of(capi.realloc, pointer, 64) == errno.ENOMEM
                assert capi.usable_size(pointer) == 0
        forked(child)
        """
    )


def test_wiping_an_inherited_object_leaves_the_parent_s_alone():
    fork(
        """
        key = SecureBytes(SECRET)
        def child():
            key.wipe()
            assert key.wiped
        forked(child)
        assert not key.wiped and key == SECRET
        """
    )


def test_a_child_allocates_at_once_and_never_where_the_parent_s_objects_are():
    fork(
        """
        parents = [capi.malloc(size) for size in (1, 100, 5_000, 100_000) * 20]
        pages = {maps.mapping_at(each).start for each in parents}
        heap = Heap("own")
        key = SecureBytes(SECRET, heap=heap)
        def child():
            mine = [capi.malloc(size) for size in (1, 100, 5_000, 100_000) * 20]
            assert not pages & {maps.mapping_at(each).start for each in mine}
            for each in mine:
                capi.write(each, b"c")
            assert SecureBytes(SECRET) == SecureBytes(SECRET, heap=heap) == SECRET
            assert SecureBytes(SECRET, heap=Heap("made in the child")) == SECRET
            assert maps.mapping_at(mine[0]).is_secret
            for each in mine:
                capi.free(each)
            assert DEFAULT.is_valid() and heap.is_valid() and DEFAULT.stats().live == 0
        forked(child)
        assert all(capi.read(each, 1) == bytes(1) for each in parents)
        assert DEFAULT.is_valid() and key == SECRET
        """
    )


def test_what_a_child_writes_never_reaches_its_parent():
    fork(
        """
        keys = [SecureBytes(SECRET) for _ in range(2_000)]
        def child():
            mine = [SecureBytes(b"X" * len(SECRET)) for _ in range(2_000)]
            assert all(each == b"X" * len(SECRET) for each in mine)
        forked(child)
        assert all(key == SECRET for key in keys)
        """
    )


def test_a_grandchild_sees_neither_its_parent_s_nor_its_grandparent_s_objects():
    fork(
        """
        first = SecureBytes(SECRET)
        first_at = capi.malloc(100)
        def child():
            second = SecureBytes(SECRET)
            second_at = capi.malloc(100)
            def grandchild():
                raises(ForkedError, bytes, first)
                raises(ForkedError, bytes, second)
                assert maps.mapping_at(first_at).is_closed and maps.mapping_at(second_at).is_closed
                capi.free(first_at)
                capi.free(second_at)
                assert SecureBytes(SECRET) == SECRET and DEFAULT.is_valid()
            forked(grandchild)
            raises(ForkedError, bytes, first)
            assert second == SECRET and DEFAULT.is_valid()
        forked(child)
        assert first == SECRET
        """
    )


def test_a_child_that_forks_before_it_allocates_is_no_different():
    fork(
        """
        key = SecureBytes(SECRET)
        def grandchild():
            raises(ForkedError, bytes, key)
            assert SecureBytes(SECRET) == SECRET
        forked(lambda: forked(lambda: forked(grandchild)))
        """
    )


def test_the_first_use_may_fall_into_a_fork():
    """The fork's own handlers stand for another thread: they can be timed. Those registered last come first."""
    succeed(
        """
        import ctypes, os
        from support import capi

        @ctypes.CFUNCTYPE(None)
        def first_use():
            used.append(capi.malloc(100))

        used = []
        assert ctypes.CDLL(None).__register_atfork(first_use, None, None, None) == 0
        pid = os.fork()
        if pid == 0:
            capi.free(capi.malloc(100))
            capi.free(used[0])
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        capi.free(used[0])
        """
    )


def test_forks_in_a_row_do_not_grow_the_parent():
    fork(
        """
        key = SecureBytes(SECRET)
        def child():
            assert SecureBytes(SECRET) == SECRET
        forked(child)
        def state():
            return len(maps.mappings()), maps.address_space(), maps.descriptors(), DEFAULT.stats()
        def grew():
            before = state()
            for _ in range(100):
                forked(child)
            return state() != before
        assert not all(grew() for _ in range(5))  # Python takes memory of its own now and then; a leak shows each time
        """
    )


def test_a_fork_while_threads_allocate_and_free_gives_a_child_that_works():
    fork(
        """
        stop = threading.Event()
        def busy(i):
            mine = []
            while not stop.is_set():
                mine += [capi.malloc(size) for size in (1, 50, 3_000, 20_000)]
                if len(mine) > 60:
                    while mine:
                        capi.free(mine.pop())
            for pointer in mine:
                capi.free(pointer)
        threads = [threading.Thread(target=busy, args=[i]) for i in range(4)]
        for thread in threads:
            thread.start()
        key = SecureBytes(SECRET)
        def child():
            raises(ForkedError, bytes, key)
            mine = [SecureBytes(size) for size in (1, 50, 3_000, 20_000) * 20]
            mine.clear()
            assert DEFAULT.is_valid() and DEFAULT.stats().live == 0
        for _ in range(60):
            forked(child)
        stop.set()
        for thread in threads:
            thread.join()
        assert key == SECRET and DEFAULT.is_valid() and DEFAULT.stats().live == 1
        """
    )


def test_a_fork_from_another_thread_than_the_one_that_allocated():
    fork(
        """
        key = SecureBytes(SECRET)
        def child():
            raises(ForkedError, bytes, key)
            assert SecureBytes(SECRET) == SECRET and DEFAULT.is_valid()
        thread = threading.Thread(target=forked, args=[child])
        thread.start()
        thread.join()
        forked(child)
        """
    )


def test_a_child_s_threads_work():
    fork(
        """
        from support.threads import in_threads
        key = SecureBytes(SECRET)
        in_threads(3, lambda i: SecureBytes(SECRET))
        def child():
            in_threads(4, lambda i: [SecureBytes(SECRET) for _ in range(500)])
            assert DEFAULT.is_valid() and DEFAULT.stats().live == 0
        forked(child)
        """
    )


def test_a_fork_before_the_first_secret_leaves_both_to_themselves():
    fork(
        """
        def child():
            assert SecureBytes(SECRET) == SECRET
        forked(child)
        assert SecureBytes(SECRET) == SECRET
        forked(child)
        """
    )


def test_a_child_that_outlives_its_parent_goes_on():
    fork(
        """
        reader, writer = os.pipe()
        def parent():
            key = SecureBytes(SECRET)
            if os.fork() == 0:
                os.close(reader)
                while os.getppid() == parent_pid:
                    pass
                try:
                    raises(ForkedError, bytes, key)
                    assert SecureBytes(SECRET) == SECRET
                    os.write(writer, b"fine")
                finally:
                    os._exit(0)
        def first():
            global parent_pid
            parent_pid = os.getpid()
            parent()
        forked(first)
        os.close(writer)
        assert os.read(reader, 9) == b"fine"
        """
    )


def test_a_subprocess_inherits_neither_pages_nor_descriptors():
    fork(
        """
        import subprocess
        key = SecureBytes(SECRET)
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
        try:
            assert maps.secret_mappings() != maps.secret_mappings(child.pid) == []
            assert not any("secretmem" in name for name in maps.descriptors(child.pid).values())
        finally:
            child.kill()
            child.wait()
        assert key == SECRET
        """
    )


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing_works_beside_secrets(tmp_path, method):
    """What multiprocessing must not do is hand a secret over: that is an error in the parent."""
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import multiprocessing
import secalloc
def work(n):
    return bytes(secalloc.SecureBytes(b"made in the child"))[:n]
if __name__ == "__main__":
    key = secalloc.SecureBytes(b"parent's")
    context = multiprocessing.get_context("{method}")
    with context.Pool(2) as pool:
        assert pool.map(work, [4, 7]) == [b"made", b"made in"]
        try:
            pool.apply(work, [key])
            raise SystemExit("pickled")
        except TypeError as error:
            assert "secalloc.sharing" in str(error)
    assert key == b"parent's"
"""
    )
    succeed("import subprocess, sys; subprocess.run([sys.executable, '-P', sys.argv[1]], check=True)", program)


def test_a_double_free_in_a_child_ends_the_child_alone():
    fork(
        """
        key = SecureBytes(SECRET)
        def child():
            os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
            pointer = capi.malloc(32)
            capi.free(pointer)
            capi.free(pointer)
        forked(child, by=signal.SIGABRT)
        assert key == SECRET and DEFAULT.is_valid()
        """
    )


def test_a_late_write_of_the_parent_is_still_found_after_a_fork():
    die(
        PRELUDE
        + """
many = [capi.malloc(32) for _ in range(2_000)]
for each in many:
    capi.free(each)
forked(lambda: SecureBytes(4))
capi.write(many[1_000], b"late")
print("ready", flush=True)
[capi.malloc(32) for _ in range(20_000)]
""",
        by=6,
        phrase="secalloc: write after free\n",
    )
