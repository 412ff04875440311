"""Fork under the policy copy: the child has its own copies, at the same addresses."""
import pytest
from support.children import succeed
from support.fixtures import hammer_library  # noqa: F401

from secalloc import Heap

SIZES = (1, 32, 1000, 16_000, 20_000, 300_000)  # slots, and large objects
MAKE = f"""
import os, sys, threading, warnings, secalloc
from secalloc import ForkedError, Heap, SecureBytes
from support.forking import forked
warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads, which is what is tested
heap = Heap("copied", on_fork="copy", backend=sys.argv[1])
objects = [SecureBytes.random(size, heap=heap) for size in {SIZES} * 20]
contents = [bytes(o) for o in objects]
"""


@pytest.fixture(params=["secretmem", "mlock"])
def backend(request):
    return request.param


def test_a_heap_tells_its_policy():
    assert Heap("copied", on_fork="copy").on_fork == "copy"
    assert Heap("isolated").on_fork == "isolate"
    with pytest.raises(ValueError, match="on_fork"):
        Heap("odd", on_fork="share")


def test_a_child_reads_its_copies_and_writes_only_those(backend):
    succeed(
        MAKE
        + """
def child():
    assert [bytes(o) for o in objects] == contents
    for o in objects:
        o[0] ^= 255
    assert heap.is_valid()

forked(child)
assert [bytes(o) for o in objects] == contents
""",
        backend,
    )


def test_what_the_parent_writes_later_stays_its_own(backend):
    succeed(
        MAKE
        + """
ask, answer = os.pipe()

def child():
    os.read(ask, 1)
    assert [bytes(o) for o in objects] == contents

pid = os.fork()
if pid == 0:
    child()
    os._exit(0)
for o in objects:
    o[0] ^= 255
os.write(answer, b"x")
assert os.waitpid(pid, 0)[1] == 0
""",
        backend,
    )


def test_a_child_frees_allocates_and_trims_as_if_it_were_its_own_heap(backend):
    succeed(
        MAKE
        + """
def child():
    del objects[::2]
    more = [SecureBytes(size, heap=heap) for size in (32, 1000, 20_000) for _ in range(50)]
    assert heap.is_valid()
    del objects[:], more[:]
    heap.trim()
    assert heap.stats().committed == 0

forked(child)
assert [bytes(o) for o in objects] == contents and heap.is_valid()
""",
        backend,
    )


def test_a_copied_and_an_isolated_heap_stand_side_by_side(backend):
    succeed(
        MAKE
        + """
isolated = SecureBytes(b"not for children")

def child():
    assert bytes(objects[0]) == contents[0]
    try:
        bytes(isolated)
    except ForkedError:
        return
    raise SystemExit("the isolated object was readable")

forked(child)
assert isolated == b"not for children"
""",
        backend,
    )


def test_grandchildren_and_threads_at_the_time_of_the_fork(backend):
    succeed(
        MAKE
        + """
stop = threading.Event()

def churn():
    while not stop.is_set():
        for size in (32, 100, 20_000):
            SecureBytes(size, heap=heap)

threads = [threading.Thread(target=churn) for _ in range(3)]
for thread in threads:
    thread.start()

def child():
    assert [bytes(o) for o in objects] == contents
    forked(lambda: None if [bytes(o) for o in objects] == contents else 1 / 0)
    del objects[:]
    heap.trim()

for _ in range(30):
    forked(child)
stop.set()
for thread in threads:
    thread.join()
assert [bytes(o) for o in objects] == contents and heap.is_valid()
""",
        backend,
    )


@pytest.mark.parametrize("hardening", ["fast", "full"])
def test_a_child_s_heap_is_whole_though_threads_allocate_and_free_meanwhile(hammer_library, hardening):  # noqa: F811
    """Without the GIL, and so between the copying and the fork itself: what was freed then must be wiped in the child,
    and what was made then must be whole."""
    succeed(
        """
        import ctypes, os, sys, threading, warnings
        from secalloc import SecureBytes, configure
        from secalloc_ext.heapobject import DEFAULT
        from support import capi, hammer
        warnings.simplefilter("ignore", DeprecationWarning)
        configure(on_fork="copy", hardening=sys.argv[2])
        objects = (ctypes.c_void_p * 20_000)(*(capi.malloc(32) for _ in range(20_000)))
        churn = hammer.load_churn(sys.argv[1])
        overlaps, codes = [], []
        for _ in range(12):
            thread = threading.Thread(target=churn, args=[hammer.functions(), objects, 20_000, 32, 80])
            thread.start()
            pid = os.fork()
            if pid == 0:
                whole = DEFAULT.is_valid()
                made = [SecureBytes(size) for size in range(0, 16_000, 60) for _ in range(3)]
                os._exit(0 if whole and DEFAULT.is_valid() else 1)
            overlaps.append(thread.is_alive())
            codes.append(os.waitpid(pid, 0)[1])
            thread.join()
        assert any(overlaps) and codes == [0] * 12, (overlaps, codes)
        """,
        hammer_library,
        hardening,
    )


def test_a_large_object_that_a_thread_resizes_meanwhile_is_whole_in_the_child():
    succeed(
        """
        import os, threading, warnings
        from secalloc import configure
        from support import capi
        warnings.simplefilter("ignore", DeprecationWarning)
        configure(on_fork="copy")
        p = capi.malloc(1_000_000)
        stop = threading.Event()

        def resize():
            while not stop.is_set():
                assert capi.realloc(p, 600_000) == capi.realloc(p, 1_000_000) == p

        thread = threading.Thread(target=resize)
        thread.start()
        codes = []
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                capi.usable_size(p)  # looks at the canary
                os._exit(0)
            codes.append(os.waitpid(pid, 0)[1])
        stop.set()
        thread.join()
        assert codes == [0] * 30, codes
        """
    )


def test_forks_in_a_row_leave_nothing_behind_in_the_parent(backend):
    succeed(
        MAKE
        + """
from support import maps
forked(lambda: None)
before = maps.secret_mappings(), maps.descriptors()
space = maps.address_space()
for _ in range(50):
    forked(lambda: None)
assert (maps.secret_mappings(), maps.descriptors()) == before
assert maps.address_space() - space < heap.stats().committed  # one shadow left would be as much
""",
        backend,
    )


def test_without_memory_for_the_copies_the_heap_is_isolated_and_says_so():
    succeed(
        """
        import os, secalloc
        from secalloc import ForkedError, Heap, SecureBytes
        from support import hostile
        hostile.become_ordinary_user()
        hostile.limit("RLIMIT_MEMLOCK", 8 << 20)
        heap = Heap("copied", on_fork="copy")
        big = SecureBytes(6 << 20, heap=heap)
        big[0] = 7
        pid = os.fork()
        if pid == 0:
            try:
                big[0]
            except ForkedError:
                assert len(SecureBytes(1 << 20, heap=heap)) == 1 << 20
                os._exit(0)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        assert big[0] == 7
        """
    )


def test_the_copies_of_a_child_are_on_pages_of_their_backend_too(backend):
    succeed(
        MAKE
        + """
from support import capi, maps

def check():
    assert {maps.backend_at(capi.address_of(o)) for o in objects} == {o.backend for o in objects} == {sys.argv[1]}

check()
forked(check)
""",
        backend,
    )


def test_an_overflow_from_before_the_fork_is_an_overflow_in_the_child(backend):
    succeed(
        MAKE
        + """
from support import capi
ends = [capi.address_of(o) + len(o) for o in objects]

def child():
    assert not heap.is_valid()
    capi.spoil(end)  # undone
    assert heap.is_valid()

for end in ends[:6]:
    capi.spoil(end)
    forked(child)
    capi.spoil(end)
forked(lambda: None if heap.is_valid() else 1 / 0)
""",
        backend,
    )


def test_a_child_that_outlives_its_parent_keeps_its_copies(backend):
    succeed(
        MAKE
        + """
ask, answer = os.pipe()

def parent():
    own = os.getpid()
    if os.fork():
        return
    while os.getppid() == own:
        pass
    assert [bytes(o) for o in objects] == contents
    del objects[:]
    heap.trim()
    assert heap.is_valid() and heap.stats().committed == 0
    os.write(answer, b"fine")

forked(parent)
assert os.read(ask, 9) == b"fine"
""",
        backend,
    )


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing_hands_copies_to_forked_workers_only(tmp_path, backend, method):
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import multiprocessing, os, warnings
from secalloc import Heap, SecureBytes
warnings.simplefilter("ignore", DeprecationWarning)
heap = Heap("copied", on_fork="copy", backend="{backend}")
key = SecureBytes(b"master" if __name__ == "__main__" else b"worker", heap=heap)
def work(n):
    made = SecureBytes(bytes([n]) * 1_000 * n, heap=heap)
    return bytes(key), len(made), heap.is_valid()
if __name__ == "__main__":
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        seen = b"master" if "{method}" == "fork" else b"worker"
        assert pool.map(work, range(30), chunksize=1) == [(seen, 1_000 * n, True) for n in range(30)]
    assert key == b"master" and heap.is_valid() and heap.stats().live == 1
"""
    )
    succeed("import subprocess, sys; subprocess.run([sys.executable, '-P', sys.argv[1]], check=True)", program)
