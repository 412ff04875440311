"""The deliberate ways out of a SecureBytes."""
import os

import pytest

from secalloc import SecureBytes, WipedError


def test_write_to_writes_all_bytes_to_a_descriptor_or_a_file(tmp_path):
    key = SecureBytes.random(100_000)
    with open(tmp_path / "key", "wb") as file:
        key.write_to(file)
        SecureBytes(b"more").write_to(file.fileno())
    assert (tmp_path / "key").read_bytes() == bytes(key) + b"more"


def test_write_to_goes_on_where_a_pipe_takes_a_part_at_a_time():
    key = SecureBytes.random(1 << 20)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        with open(read, "rb") as pipe:
            os._exit(len(pipe.read()) != 1 << 20)
    os.close(read)
    key.write_to(write)
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0


def test_write_to_of_a_wiped_one_writes_nothing(tmp_path):
    key = SecureBytes.random(32)
    key.wipe()
    with open(tmp_path / "key", "wb") as file, pytest.raises(WipedError):
        key.write_to(file)
    assert (tmp_path / "key").read_bytes() == b""


def test_an_added_method_is_as_one_of_the_class():
    assert SecureBytes.write_to.__qualname__ == "SecureBytes.write_to"
    with pytest.raises(TypeError):
        SecureBytes.write_to(b"bytes", 1)
