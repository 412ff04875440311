"""What a child has of its parent's revealed objects: an error, a fault, or a copy of its own; never zeros for a key.

Each test forks in a process of its own, as fork with live threads must not meet pytest's.
"""
import textwrap

import pytest
from support.children import run, succeed

PRELUDE = """
import ctypes, gc, os, signal, sys, threading, warnings, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
warnings.simplefilter("ignore", DeprecationWarning)   # of fork with threads
from secalloc import ForkedError, Heap, SecureBytes
from support import capi, maps
from support.forking import clone, cloned, forked, raises
from support.revealing import HEADER, Bytes, Str, blocks_of, payload_of

SECRET = b"correct horse battery staple"
TEXT = "p\\u00e4ssword \\u20ac"
libc = ctypes.CDLL(None)

def both(heap=None):
    return SecureBytes(SECRET, heap=heap).reveal(), SecureBytes(TEXT.encode(), heap=heap).reveal_str()
"""


def fork(program, **options):
    return succeed(PRELUDE + textwrap.dedent(program), **options)


USES = {
    "len": "len", "index": "lambda x: x[0]", "slice": "lambda x: x[1:3]", "iteration": "list", "hash": "hash",
    "equality": "lambda x: x == x[:0]", "equality with another": "lambda x: x == 5", "order": "lambda x: x < x",
    "in": "lambda x: x in x", "+": "lambda x: x + x", "*": "lambda x: x * 2", "%": "lambda x: x % 1",
    "method": "lambda x: x.upper()", "another method": "lambda x: x.find(x)", "format": "format",
    "copy": "__import__('copy').copy",
    "pickle": "__import__('pickle').dumps", "bytes": "lambda x: bytes(x) if isinstance(x, bytes) else x.encode()",
    "buffer": "lambda x: memoryview(x) if isinstance(x, bytes) else x.encode()", "dict": "lambda x: {x: 1}",
    "hmac": "lambda x: __import__('hmac').new(x, b'', 'sha256') if isinstance(x, bytes) else x.encode()",
    "dir": "dir",
}  # fmt: skip


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_use_of_an_inherited_one_is_a_forked_error(use):
    fork(
        f"""
        key, text = both()
        use = {use}
        def child():
            raises(ForkedError, use, key)
            raises(ForkedError, use, text)
            assert repr(key) == repr(text) == "<revealed in another process>"
            assert isinstance(key, bytes) and isinstance(text, str) and not isinstance(key, int)
        forked(child)
        assert key == SECRET and text == TEXT
        """
    )


def test_reading_an_inherited_address_is_a_fault_and_never_zeros():
    fork(
        """
        key, text = both()
        places = [payload_of(key), *blocks_of(text)]
        for place in places:
            assert capi.read(place, 1) != bytes(1)
            for make in (forked, cloned):
                make(lambda: capi.read(place, 1), by=signal.SIGSEGV)
        def child():
            assert all(maps.mapping_at(place).is_closed for place in places)
        forked(child)
        """
    )


def test_c_code_that_is_given_an_inherited_one_faults_or_is_refused():
    fork(
        """
        key, text = both()
        as_string = ctypes.pythonapi.PyBytes_AsString
        as_string.restype, as_string.argtypes = ctypes.c_void_p, [ctypes.py_object]
        assert ctypes.string_at(as_string(key), 28) == SECRET
        forked(lambda: ctypes.string_at(as_string(key), 28), by=signal.SIGSEGV)
        import hashlib
        forked(lambda: raises(ForkedError, hashlib.sha256, key))
        """
    )


@pytest.mark.parametrize("make", ["forked", "cloned"])
def test_inherited_ones_are_dropped_without_effect(make):
    fork(
        f"""
        heap = Heap("own")
        kept = [both(heap) for _ in range(50)]
        def child():
            kept.clear()
            gc.collect()
        {make}(child)
        assert all((key, text) == (SECRET, TEXT) for key, text in kept) and heap.is_valid()
        assert heap.stats().live == 50 * 3
        kept.clear()
        assert heap.stats().live == 0
        """
    )


@pytest.mark.parametrize("make", ["os.fork()", "clone()"])
def test_a_child_ends_its_interpreter_with_inherited_ones_alive(make):
    """No `os._exit`: module globals, a cycle, a default argument, an attribute of a type."""
    done = run(
        PRELUDE
        + f"""
key, text = both()
class Kept:
    held = both()
    def __del__(self, both=both()):
        print("end", flush=True)
cycle = [both(), Kept()]
cycle.append(cycle)
pid = {make}
if pid:
    assert os.waitpid(pid, 0)[1] == 0
    assert key == SECRET and Kept.held[1] == TEXT
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\nend\n", "")


def test_a_fork_in_a_thread_is_as_any():
    fork(
        """
        key, text = both()
        def child():
            raises(ForkedError, bytes, key)
            raises(ForkedError, text.encode) if type(text) is Str else raises(ForkedError, getattr, text, "encode")
            own = SecureBytes(b"own").reveal()
            assert own == b"own"
        worker = threading.Thread(target=forked, args=[child])
        worker.start()
        worker.join()
        assert key == SECRET
        """
    )


ANSWERS = {"fork": [True], "forkserver": [True, False], "spawn": [False]}


@pytest.mark.parametrize("method", ANSWERS)
def test_children_of_multiprocessing_come_to_their_end(method, tmp_path):
    """Those of `fork` have inherited some, those of the server where it has imported the program, as from 3.14 on."""
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import multiprocessing, warnings
from secalloc import ForkedError, SecureBytes
warnings.simplefilter("ignore", DeprecationWarning)
key, text = SecureBytes(b"k" * 32).reveal(), SecureBytes(b"t" * 32).reveal_str()

def work(queue):
    try:
        inherited = key + b""
    except ForkedError:
        inherited = None
    queue.put((inherited is None, bytearray(SecureBytes(b"own").reveal())))

if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    queue = context.SimpleQueue()
    process = context.Process(target=work, args=[queue])
    process.start()
    inherited, own = queue.get()
    assert own == b"own" and inherited in {ANSWERS[method]}
    process.join()
    assert process.exitcode == 0
    assert key == b"k" * 32
    print("done")
"""
    )
    start = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = run(start, program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_child_reveals_its_own_and_its_child_neither():
    fork(
        """
        inherited = both()
        def child():
            own = both()
            assert own == (SECRET, TEXT)
            def grandchild():
                for key, text in (inherited, own):
                    raises(ForkedError, len, key)
                    raises(ForkedError, len, text)
                assert both() == (SECRET, TEXT)
            forked(grandchild)
            assert own == (SECRET, TEXT)
            raises(ForkedError, len, inherited[0])
        forked(child)
        assert inherited == (SECRET, TEXT)
        """
    )


def test_nothing_lands_where_an_inherited_one_was():
    fork(
        """
        key, text = both()
        places = [payload_of(key), *blocks_of(text)]
        def child():
            import mmap
            more = [both() for _ in range(100)] + [mmap.mmap(-1, 4096) for _ in range(100)]
            assert all(maps.mapping_at(place).is_closed for place in places)
        forked(child)
        """
    )


def test_of_a_heap_that_is_copied_the_child_has_its_own():
    fork(
        """
        heap = Heap("both", on_fork="copy")
        key, text = both(heap)
        dropped = [both(heap) for _ in range(10)]
        dropped.clear()
        def child():
            assert key == SECRET and text == TEXT and type(key) is Bytes and type(text) is Str
            assert maps.mapping_at(payload_of(key)).is_secret
            assert key.upper() == SECRET.upper() and text + "x" == TEXT + "x"
            more = [both(heap) for _ in range(20)]
            assert heap.is_valid() and all(each == (SECRET, TEXT) for each in more)
            heap.wipe()
            assert key == bytes(len(SECRET))
            kept.clear()
        kept = [both(heap)]
        forked(child)
        assert key == SECRET and text == TEXT and heap.is_valid()
        """
    )


def test_a_clone_without_handlers_has_none_of_a_heap_that_is_copied():
    fork(
        """
        heap = Heap("both", on_fork="copy")
        key, text = both(heap)
        secret = SecureBytes(b"x", heap=heap)
        def child():
            for use in (hash, lambda each: each == each, lambda each: each[1:], lambda each: each.strip()):
                raises(ForkedError, use, key)
                raises(ForkedError, use, text)
            raises(ForkedError, secret.reveal)
        cloned(child)
        assert key == SECRET and hash(text) == hash(TEXT)
        """
    )


def test_a_view_of_a_parents_one_does_not_lock_the_childs_heap_for_ever():
    fork(
        """
        heap = Heap("own")
        kept = [both(heap)]
        def child():
            raises(BufferError, heap.lock)
            kept.clear()
            heap.lock()
        forked(child)
        raises(BufferError, heap.lock)
        """
    )


def test_forks_while_threads_reveal_leave_whole_children():
    fork(
        """
        heap, copied = Heap("isolated"), Heap("copied", on_fork="copy")
        stop = threading.Event()
        def work(heap):
            while not stop.is_set():
                held = [both(heap) for _ in range(5)]
                assert all(each == (SECRET, TEXT) for each in held)
        threads = [threading.Thread(target=work, args=[each]) for each in (heap, copied)]
        for thread in threads:
            thread.start()
        keep = both(heap), both(copied)
        def child():
            raises(ForkedError, len, keep[0][0])
            assert keep[1] == (SECRET, TEXT)
            assert both(heap) == both(copied) == (SECRET, TEXT)
            assert heap.is_valid() and copied.is_valid()
        for _ in range(30):
            forked(child)
        stop.set()
        for thread in threads:
            thread.join()
        """
    )


def test_a_fork_of_many_leaves_their_headers_and_closes_the_rest():
    fork(
        """
        kept = [SecureBytes(SECRET).reveal() for _ in range(500)]
        def child():
            around = {each.start: each for each in maps.mappings()}
            for key in kept:
                assert around[payload_of(key)].is_closed
                assert around[payload_of(key) - 4096].access == "rw-p"
            kept.clear()
        forked(child)
        assert all(key == SECRET for key in kept)
        """
    )
