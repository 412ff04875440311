"""Files of a known size or a bounded one, files that change meanwhile, descriptors that are not ready, credentials.

What every file is read as, and errors of `open`, are in test_securebytes_hostile.py.
"""
import os
import threading

import pytest
from support import maps
from support.children import succeed
from support.fixtures import nothing_leaks  # noqa: F401

from secalloc import Heap, HeapLimitError, SecureBytes, stats


@pytest.fixture(autouse=True)
def no_descriptor_stays_open():
    before = maps.descriptors()
    yield
    assert maps.descriptors() == before


@pytest.fixture
def pipe():
    """A pipe's two ends; closed at the end, unless the test has done so."""
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as first, open(writer, "wb", buffering=0) as second:
        yield first, second


# --- size, max_size ---


@pytest.mark.parametrize("size", [0, 1, 5, 4_096, 9_999])
def test_a_size_reads_so_many_bytes_and_leaves_the_rest(tmp_path, size):
    content = os.urandom(10_000)
    (tmp_path / "key").write_bytes(content)
    with open(tmp_path / "key", "rb", buffering=0) as file:
        assert SecureBytes.from_file(file.fileno(), size=size) == content[:size]
        assert file.read() == content[size:]


def test_a_size_is_read_of_a_pipe_in_as_many_parts_as_come(pipe):
    reader, writer = pipe

    def feed():
        for i in range(50):
            writer.write(bytes([i]))

    thread = threading.Thread(target=feed)
    thread.start()
    assert SecureBytes.from_file(reader.fileno(), size=50) == bytes(range(50))
    thread.join()


def test_a_file_shorter_than_its_size_is_an_eof_error(tmp_path, pipe):
    (tmp_path / "key").write_bytes(b"12345")
    with pytest.raises(EOFError, match="after 5 of 6 bytes"):
        SecureBytes.from_file(tmp_path / "key", size=6)
    pipe[1].close()
    with pytest.raises(EOFError, match="after 0 of 1 bytes"):
        SecureBytes.from_file(pipe[0].fileno(), size=1)


@pytest.mark.parametrize("size", [0, 1, 4_095, 4_096, 4_097, 8_192, 8_193, 50_000])
@pytest.mark.parametrize("of_known_size", [True, False])
def test_a_file_of_max_size_is_read_and_one_of_a_byte_more_refused(tmp_path, size, of_known_size):
    path = tmp_path / "key"
    content = os.urandom(size)
    path.write_bytes(content)

    def read(max_size):
        if of_known_size:
            return SecureBytes.from_file(path, max_size=max_size)
        with os.popen(f"cat {path}") as pipe:
            return SecureBytes.from_file(pipe.fileno(), max_size=max_size)

    assert read(size) == content
    assert read(2**63 - 1) == content
    if size:
        with pytest.raises(ValueError, match=f"more than {size - 1} bytes"):
            read(size - 1)


def test_an_endless_file_is_refused_before_it_fills_the_memory():
    heap = Heap("bounded", limit=200_000)
    with pytest.raises(ValueError, match="more than 10000 bytes"):
        SecureBytes.from_file("/dev/zero", max_size=10_000, heap=heap)
    with pytest.raises(HeapLimitError):  # the control
        SecureBytes.from_file("/dev/zero", heap=heap)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"size": -1}, ValueError), ({"max_size": -1}, ValueError), ({"size": 2**70}, OverflowError),
     ({"size": "5"}, TypeError), ({"max_size": 1.5}, TypeError), ({"size": 1, "max_size": 2}, TypeError),
     ({"size": 2**60}, MemoryError)],
)  # fmt: skip
def test_a_wrong_size_is_an_error_and_reads_nothing(tmp_path, arguments, error):
    (tmp_path / "key").write_bytes(b"12345")
    with open(tmp_path / "key", "rb", buffering=0) as file:
        with pytest.raises(error):
            SecureBytes.from_file(file.fileno(), **arguments)
        assert file.read() == b"12345"


# --- files of other kinds ---


def test_a_memfd_and_a_fifo_are_read_whole(tmp_path):
    content = os.urandom(10_000)
    fd = os.memfd_create("key")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    assert SecureBytes.from_file(fd) == content
    os.close(fd)
    os.mkfifo(tmp_path / "fifo")
    thread = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=[content])
    thread.start()
    assert SecureBytes.from_file(tmp_path / "fifo") == content
    thread.join()


def test_a_secret_of_a_container_is_read_through_its_links(tmp_path):
    """As /run/secrets has them: read-only files, the name a link to a link."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "token").write_bytes(b"t0ken\n")
    (tmp_path / "..data" / "token").chmod(0o400)
    (tmp_path / "token").symlink_to("..data/token")
    assert SecureBytes.from_file(tmp_path / "token") == b"t0ken\n"


@pytest.mark.parametrize("before", [10, 5_000])
@pytest.mark.parametrize("after", [0, 3, 30_000])
def test_a_file_that_changes_its_size_while_it_is_read_is_read_as_far_as_it_goes(tmp_path, monkeypatch, before, after):
    """What the kernel told of the size is wrong when the bytes are read."""
    path = tmp_path / "key"
    path.write_bytes(bytes(before))
    real = os.fstat
    content = os.urandom(after)

    def fstat(fd):
        told = real(fd)
        path.write_bytes(content)
        return told

    monkeypatch.setattr(os, "fstat", fstat)
    assert SecureBytes.from_file(path) == content
    assert path.stat().st_size == after  # the control: it was changed


def test_a_descriptor_that_is_not_ready_is_waited_for(pipe):
    reader, writer = pipe
    os.set_blocking(reader.fileno(), False)
    assert reader.read() is None  # the control: nothing is there
    key = []
    thread = threading.Thread(target=lambda: key.append(SecureBytes.from_file(reader.fileno())))
    thread.start()
    for part in (b"half", b" and half"):
        writer.write(part)
        thread.join(0.05)
        assert thread.is_alive()
    writer.close()
    thread.join()
    assert key[0] == b"half and half"


def test_a_signal_handler_that_raises_ends_the_wait_for_a_descriptor():
    succeed(
        """
        import os, signal, secalloc
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.write(writer, b"half")
        def enough(*_): raise RuntimeError("enough")
        signal.signal(signal.SIGALRM, enough)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            secalloc.SecureBytes.from_file(reader)
            raise SystemExit("not stopped")
        except RuntimeError:
            assert secalloc.stats().live == 0
        """
    )


def test_a_directory_behind_a_descriptor_is_an_error_that_leaves_nothing():
    before = stats().live
    fd = os.open("/", os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        SecureBytes.from_file(fd)
    os.close(fd)
    assert stats().live == before


# --- credentials ---


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "db.password").write_bytes(b"s3cret")
    (tmp_path / "other").write_bytes(b"not for this service")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    return tmp_path


def test_a_credential_is_read_by_its_name(credentials):
    assert SecureBytes.from_credential("db.password") == b"s3cret"
    assert SecureBytes.from_credential("db.password", max_size=6) == b"s3cret"
    with pytest.raises(ValueError, match="more than 5 bytes"):
        SecureBytes.from_credential("db.password", max_size=5)


@pytest.mark.parametrize("name", ["../other", "", ".", "..", "a/b", "/etc/passwd", "../credentials/x", "a\0b"])
def test_a_path_is_no_name_of_a_credential(credentials, name):
    assert SecureBytes.from_file(credentials / "credentials" / "../other")  # the control: as a path it is there
    with pytest.raises(ValueError, match="not the name of a credential"):
        SecureBytes.from_credential(name)


@pytest.mark.parametrize("name", [b"db.password", 5, None])
def test_the_name_of_a_credential_is_a_str(credentials, name):
    with pytest.raises(TypeError):
        SecureBytes.from_credential(name)


def test_a_missing_credential_is_told_apart_from_missing_credentials(credentials, monkeypatch):
    with pytest.raises(FileNotFoundError, match="No such file") as caught:
        SecureBytes.from_credential("missing")
    assert caught.value.filename.endswith("/missing")
    for unset in (lambda: monkeypatch.setenv("CREDENTIALS_DIRECTORY", ""),
                  lambda: monkeypatch.delenv("CREDENTIALS_DIRECTORY")):  # fmt: skip
        unset()
        with pytest.raises(FileNotFoundError, match="CREDENTIALS_DIRECTORY is not set"):
            SecureBytes.from_credential("db.password")
