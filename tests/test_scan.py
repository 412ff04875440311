"""The scanner, by which leaks are told: it finds what is there, across pieces and past what it cannot read."""
import ctypes
import errno
import mmap
import os
import subprocess
import sys

import pytest

from secalloc.holder import address_of
from secalloc.scan import PAGE, Wanted, areas, fragments, hits, runs


def test_a_page_that_cannot_be_read_hides_no_other():
    """Five pages, the third of which is closed; the needles lie on both sides of it, one across two pages."""
    memory = mmap.mmap(-1, 5 * PAGE)
    first, last = b"f" * 32, b"l" * 32
    memory[:32] = memory[2 * PAGE - 32 : 2 * PAGE] = first
    memory[4 * PAGE - 16 : 4 * PAGE + 16] = last
    address = address_of(memory)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert libc.mprotect(address + 2 * PAGE, PAGE, 0) == 0

    def read(start, size):
        """As process_vm_readv(2): up to the first page that it cannot read."""
        closed = address + 2 * PAGE
        end = min(start + size, closed if start <= closed else address + 5 * PAGE)
        if start == end:
            raise OSError(errno.EFAULT, "Bad address")
        return ctypes.string_at(start, end - start)

    (start, whole), *others = runs(address, address + 5 * PAGE, read, 31)
    assert start == address
    assert whole.count(first) == 2
    assert len(whole) == 2 * PAGE
    assert any(last in data for _, data in others)


def test_a_needle_across_two_reads_is_found_at_its_address():
    data = os.urandom(3 * PAGE)
    found = list(runs(0, len(data), lambda start, size: data[start : start + min(size, 1000)], 31))
    assert all(any(data[i : i + 32] in run for _, run in found) for i in range(len(data) - 32))
    assert all(data[start:].startswith(run) for start, run in found)


@pytest.fixture
def child():
    """A process with a needle on its stack, in its heap and in an anonymous mapping; each made in pieces."""
    code = """if True:
        import ctypes, mmap
        heap, page = bytearray().join([b"ne", b"edle", b"%d" % 40_441]), mmap.mmap(-1, 8192)
        page[4090:4101] = heap
        print(*(ctypes.addressof(ctypes.c_char.from_buffer(each)) for each in (heap, page)), flush=True)
        input()
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        heap, page = map(int, process.stdout.readline().split())
        yield process, [heap, page + 4090]
        process.communicate("\n")


def test_every_place_of_a_needle_is_told_once_with_its_mapping(child):
    process, places = child
    found = hits(process.pid, {"it": b"needle40441", "other": b"needle40442"})
    assert {hit.needle for hit in found} == {"it"}
    assert set(places) <= {hit.address for hit in found}
    assert len({hit.address for hit in found}) == len(found)
    names = {area.name for area in areas(process.pid) for hit in found if area.first <= hit.address < area.end}
    assert {hit.area for hit in found} == names
    assert found == sorted(found, key=lambda hit: hit.address)


def test_a_process_that_is_gone_is_an_error():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(OSError, match=str(process.pid)):
        hits(process.pid, {"a": b"aa"})


def test_parts_are_found_of_whichever_secret_width_and_place():
    secrets = {f"s{i}": os.urandom(64) for i in range(3)}
    memory = bytearray(os.urandom(3 * PAGE))
    memory[17:29] = secrets["s0"][20:32]  # 12 bytes of it
    memory[PAGE - 5 : PAGE + 3] = secrets["s1"][8:16]  # 8, across two pages
    memory[2 * PAGE : 2 * PAGE + 7] = secrets["s2"][:7]  # too few
    memory[2 * PAGE + 7] = secrets["s2"][7] ^ 1
    memory[2 * PAGE + 99] = secrets["s2"][0] ^ 1  # nor does chance complete a part
    memory[2 * PAGE + 100 : 2 * PAGE + 108] = secrets["s2"][1:9]  # at no step of it
    code = "import sys; kept = bytearray(sys.stdin.buffer.read(12288)); print('here', flush=True); sys.stdin.read(1)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(memory)
        process.stdin.flush()
        assert process.stdout.readline() == b"here\n"
        found = fragments(process.pid, [Wanted("s0", secrets["s0"], 12), Wanted("s1", secrets["s1"]),
                                        Wanted("s2", secrets["s2"], 8, 8)])  # fmt: skip
        process.stdin.close()
    names = [hit.needle for hit in found]
    assert set(names) == {"s0", "s1"}


@pytest.mark.parametrize("secret", [b"", b"short", bytes(100), b"abab" * 20])
def test_what_is_short_or_uniform_cannot_be_looked_for(secret):
    with pytest.raises(ValueError, match="no window"):
        fragments(os.getppid(), [Wanted("secret", secret)])
