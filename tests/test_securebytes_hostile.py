"""Layer 4 against hostile callers: files of every kind, and arguments whose code runs in the middle of an operation."""
import os
import sys
import threading

import pytest
from support import capi, maps
from support.children import succeed
from support.fixtures import nothing_leaks  # noqa: F401

import secalloc
from secalloc import Heap, SecureBytes, WipedError

SECRET = b"correct horse battery staple"


@pytest.fixture(autouse=True)
def no_descriptor_stays_open():
    before = maps.descriptors()
    yield
    assert maps.descriptors() == before


# --- from_file ---


@pytest.mark.parametrize("size", [0, 1, 31, 4_095, 4_096, 4_097, 16_392, 70_000, 1_000_000])
def test_a_regular_file_is_read_whole(tmp_path, size):
    content = os.urandom(size)
    path = tmp_path / "key"
    path.write_bytes(content)
    for file in (path, str(path), bytes(path)):
        key = SecureBytes.from_file(file)
        assert bytes(key) == content
        assert len(key) == size


def test_a_descriptor_is_read_from_where_it_stands_and_stays_open(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"0123456789")
    with open(path, "rb", buffering=0) as file:
        file.seek(4)
        assert SecureBytes.from_file(file.fileno()) == b"456789"
        assert SecureBytes.from_file(file.fileno()) == b""
        file.seek(0)
        assert file.read() == b"0123456789"


@pytest.mark.parametrize("size", [0, 1, 4_096, 4_097, 300_000])
def test_a_pipe_is_read_to_its_end(size):
    content = os.urandom(size)
    reader, writer = os.pipe()

    def feed():
        with open(writer, "wb") as file:
            for i in range(0, size, 1_000):
                file.write(content[i : i + 1_000])
                file.flush()

    thread = threading.Thread(target=feed)
    thread.start()
    key = SecureBytes.from_file(reader)
    thread.join()
    os.close(reader)
    assert key == content


def test_a_file_whose_size_the_kernel_does_not_tell_is_read_whole():
    assert os.stat("/proc/self/cmdline").st_size == 0
    with open("/proc/self/cmdline", "rb") as file:
        assert SecureBytes.from_file("/proc/self/cmdline") == file.read()
    assert len(SecureBytes.from_file("/proc/self/smaps")) > 4_096


def test_the_null_device_is_empty():
    assert bytes(SecureBytes.from_file("/dev/null")) == b""


def test_a_read_interrupted_by_a_signal_goes_on():
    succeed(
        """
        import os, signal, threading, secalloc
        hits = []
        signal.signal(signal.SIGUSR1, lambda *_: hits.append(1))
        reader, writer = os.pipe()
        main = threading.main_thread().ident
        def feed():
            for i in range(20):
                signal.pthread_kill(main, signal.SIGUSR1)
                os.write(writer, b"x")
            os.close(writer)
        thread = threading.Thread(target=feed)
        thread.start()
        assert secalloc.SecureBytes.from_file(reader) == b"x" * 20
        thread.join()
        assert hits
        """
    )


def test_a_signal_handler_that_raises_ends_the_read():
    succeed(
        """
        import os, signal, threading, secalloc
        class Enough(Exception): pass
        done = threading.Event()
        def stop_once(*_):
            if not done.is_set():
                done.set()
                raise Enough
        signal.signal(signal.SIGUSR1, stop_once)
        reader, writer = os.pipe()
        def knock():
            while not done.wait(0.01):
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        thread = threading.Thread(target=knock)
        try:
            thread.start()
            secalloc.SecureBytes.from_file(reader)
            raise SystemExit("not stopped")
        except Enough:
            pass
        thread.join()
        assert secalloc.stats().live == 0
        """
    )


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ("/nonexistent/key", FileNotFoundError), ("", FileNotFoundError), ("/", IsADirectoryError),
        ("/etc/passwd/key", NotADirectoryError), (-1, OSError), (10**6, OSError), (2**70, OverflowError),
        ("a\0b", ValueError), (None, TypeError), (1.5, TypeError), ([], TypeError), (object(), TypeError),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_the_error_of_open(file, error):
    with pytest.raises(error):
        SecureBytes.from_file(file)


def test_an_unreadable_file_is_a_permission_error(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(SECRET)
    path.chmod(0)
    tmp_path.chmod(0o755)
    succeed(
        """
        import os, sys, secalloc
        from support import hostile, maps
        if os.geteuid() == 0:
            with open(sys.argv[1], "rb") as file:  # the control: root may
                assert secalloc.SecureBytes.from_file(sys.argv[1]) == file.read()
        hostile.become_ordinary_user()
        before = maps.descriptors()
        try:
            secalloc.SecureBytes.from_file(sys.argv[1])
            raise SystemExit("not refused")
        except PermissionError:
            pass
        assert maps.descriptors() == before and secalloc.stats().live == 0
        """,
        path,
    )


def test_a_write_only_descriptor_is_an_os_error(tmp_path):
    fd = os.open(tmp_path / "key", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="Bad file descriptor"):
        SecureBytes.from_file(fd)
    os.close(fd)


def test_a_file_larger_than_any_machine_is_a_memory_error(tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(2**42)
    with pytest.raises(MemoryError):
        SecureBytes.from_file(path)


def test_a_file_that_the_heap_s_limit_does_not_admit_is_an_error(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(bytes(500_000))
    heap = Heap("limited", limit=100_000)
    with pytest.raises(secalloc.HeapLimitError):
        SecureBytes.from_file(path, heap=heap)
    with open("/dev/zero", "rb") as endless, pytest.raises(secalloc.HeapLimitError):
        SecureBytes.from_file(endless.fileno(), heap=heap)
    assert heap.stats().live == 0
    path.write_bytes(bytes(50_000))
    assert len(SecureBytes.from_file(path, heap=heap)) == 50_000


# --- code that runs in the middle ---


class Wiping:
    """An argument that wipes the SecureBytes while its value is asked for."""

    def __init__(self, key, value=0):
        self.key = key
        self.value = value

    def __index__(self):
        self.key.wipe()
        return self.value

    if sys.version_info >= (3, 12):

        def __buffer__(self, flags):
            self.key.wipe()
            return memoryview(bytes(self.value))


IN_THE_MIDDLE = {
    "reading an index": lambda key: key[Wiping(key)],
    "reading an index from the end": lambda key: key[Wiping(key, -1)],
    "reading a slice": lambda key: key[Wiping(key) : 20],
    "reading a slice with a step": lambda key: key[0 : Wiping(key, 20) : 3],
    "writing at an index": lambda key: key.__setitem__(Wiping(key), 65),
    "writing a value": lambda key: key.__setitem__(3, Wiping(key, 65)),
    "writing to a slice": lambda key: key.__setitem__(slice(0, Wiping(key, 4)), b"XXXX"),
    "writing a slice of itself": lambda key: key.__setitem__(slice(Wiping(key), None), key),
}
if sys.version_info >= (3, 12):
    IN_THE_MIDDLE |= {
        "writing a buffer": lambda key: key.__setitem__(slice(0, 4), Wiping(key, 4)),
        "comparing": lambda key: key == Wiping(key, len(SECRET)),
        "comparing from the right": lambda key: Wiping(key, len(SECRET)) == key,
    }


@pytest.mark.parametrize("operation", IN_THE_MIDDLE.values(), ids=IN_THE_MIDDLE)
def test_wiping_in_the_middle_of_an_operation_is_a_wiped_error_and_touches_nothing(operation):
    key = SecureBytes(SECRET)
    address = capi.address_of(key)
    with pytest.raises(WipedError):
        operation(key)
    assert key.wiped
    assert capi.read(address, len(SECRET)) == bytes(len(SECRET))


def test_an_object_that_takes_the_freed_slot_in_the_middle_is_not_written_to():
    """Wipes the key and takes its slot again, until one gets it: a late write would land in another's secret."""
    key = SecureBytes(SECRET)
    others = []

    class Taking:
        def __index__(self):
            key.wipe()
            others.extend(SecureBytes(len(SECRET)) for _ in range(3_000))
            return 65

    with pytest.raises(WipedError):
        key[0] = Taking()
    assert all(other == bytes(len(SECRET)) for other in others)


def test_iteration_that_wipes_on_its_way_ends_with_an_error():
    key = SecureBytes(SECRET)
    bytes_of_key = iter(key)
    assert next(bytes_of_key) == SECRET[0]
    key.wipe()
    with pytest.raises(WipedError):
        next(bytes_of_key)


def test_a_wipe_in_the_middle_of_construction_gives_an_error_or_zeros():
    key = SecureBytes(SECRET)
    made = SecureBytes(Wiping(key, 5))
    assert key.wiped
    assert made == bytes(5)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_argument_that_raises_leaves_the_object_as_it_was(error):
    class Raising:
        def __index__(self):
            raise error

    key = SecureBytes(SECRET)
    for operation in (lambda: key[Raising()], lambda: key[Raising() :], lambda: key.__setitem__(0, Raising()),
                      lambda: SecureBytes(Raising()), lambda: SecureBytes.random(Raising())):  # fmt: skip
        with pytest.raises(error):
            operation()
    assert key == SECRET


def test_an_object_cannot_be_made_twice():
    key = SecureBytes(SECRET)
    with pytest.raises(TypeError, match="made once"):
        key.__init__(b"other")
    assert key == SECRET


def test_an_object_made_again_in_the_middle_of_its_making_leaves_no_secret_behind():
    succeed(
        """
        import secalloc
        key = secalloc.SecureBytes.__new__(secalloc.SecureBytes)
        class Again:
            def __index__(self):
                key.__init__(b"secret")
                return 3
        try:
            key.__init__(Again())
        except TypeError:
            pass
        assert secalloc.stats().live == 1
        del key
        assert secalloc.stats().live == 0
        """
    )


def test_an_object_that_was_never_made_is_an_error_to_use_and_harmless_to_drop():
    blank = SecureBytes.__new__(SecureBytes)
    with pytest.raises(WipedError):
        len(blank)
    with pytest.raises(WipedError):
        memoryview(blank)
    with pytest.raises(WipedError):
        blank.copy()
    blank.wipe()


def test_failed_construction_leaves_nothing_behind():
    heap = Heap("failed")
    attempts = [
        lambda: SecureBytes(-1, heap=heap), lambda: SecureBytes(2**62, heap=heap), lambda: SecureBytes([1], heap=heap),
        lambda: SecureBytes("\u20ac", "ascii", heap=heap), lambda: SecureBytes.fromhex("00f", heap=heap),
        lambda: SecureBytes.fromhex("s3cret", heap=heap), lambda: SecureBytes.take(b"x", heap=heap),
        lambda: SecureBytes.from_file("/", heap=heap), lambda: SecureBytes.random(-5, heap=heap),
    ]  # fmt: skip
    for attempt in attempts:
        with pytest.raises((TypeError, ValueError, MemoryError, OSError)):
            attempt()
    assert heap.stats().live == 0
    assert SecureBytes(SECRET, heap=heap) == SECRET


def test_sizes_are_ints_or_strings_that_name_one():
    for limit, size in [("4 MiB", 4 << 20), ("1KB", 1_000), ("64 k" + "ib", 65_536), (4_096, 4_096), (None, None)]:
        assert Heap("limited", limit=limit).limit == size


@pytest.mark.parametrize("limit", ["4 furlongs", "-1", "MiB", "1.5 MiB", -1])
def test_a_limit_that_is_no_size_is_a_value_error(limit):
    with pytest.raises(ValueError, match="size"):
        Heap("limited", limit=limit)


@pytest.mark.parametrize(("argument", "value"), [("backend", "disk"), ("on_fork", "share")])
def test_an_unknown_choice_is_a_value_error_that_names_it(argument, value):
    with pytest.raises(ValueError, match=value):
        Heap("odd", **{argument: value})


@pytest.mark.parametrize("name", [None, 5, b"bytes"])
def test_a_heap_s_name_is_a_str(name):
    with pytest.raises(TypeError):
        Heap(name)


def test_configure_after_the_first_use_is_too_late():
    SecureBytes(1)
    with pytest.raises(secalloc.TooLateError):
        secalloc.configure(limit="1 MiB")
