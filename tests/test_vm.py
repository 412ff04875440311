"""`python tests/vm`: the parts of it that need no machine, and what it measured last."""
import json
import os
import stat
import struct

import pytest
from vm import command, disk, expectations, image, report
from vm.guest import imageframes
from vm.guest.search import CHUNK, WORD, Search, compile_library
from vm.kernels import KERNELS, newest_release

from secalloc.attacks import kcore
from secalloc.attacks.calls import PAGE_BYTES
from secalloc.holder import needle_of

MARKER_BYTES = 64
RAM, CODE = 0x100000, 0x1000000  # physical addresses


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("vm") / "words.so"
    compile_library(path)
    return path


@pytest.fixture
def marker():
    return os.urandom(MARKER_BYTES)


def search_of(library, **markers):
    return Search([needle_of(name, data, 0) for name, data in markers.items()], library)


def searched(search, data):
    """What is found in `data`, as (needle, offset, words)."""

    def read_into(buffer, offset):
        part = data[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    return [tuple(place) for place in search.places(len(data), read_into)]


def core_file(path, segments):
    """As /proc/kcore has it: segments of (virtual, physical, content)."""
    head = struct.Struct("<16sHHIQQQIHHHHHH")
    program = struct.Struct("<IIQQQQQQ")
    note = program.pack(4, 0, 0, 0, 0, 0, 0, 0)  # PT_NOTE
    offset = head.size + program.size * (len(segments) + 1)
    headers, contents = note, b""
    for virtual, physical, content in segments:
        headers += program.pack(1, 7, offset + len(contents), virtual, physical, len(content), len(content), 4096)
        contents += content
    magic = b"\x7fELF\x02\x01\x01"
    path.write_bytes(
        head.pack(magic, 4, 62, 1, 0, head.size, 0, 0, head.size, program.size, len(segments) + 1, 0, 0, 0)
        + headers + contents
    )  # fmt: skip
    return os.open(path, os.O_RDONLY)


@pytest.fixture
def core(tmp_path):
    fd = core_file(tmp_path / "kcore", [
        (0xFFFFFFFF81000000, CODE, b"code" * 1024),
        (0xFFFFC90000000000, kcore.NO_PHYSICAL, b"vmalloc " * 512),
        (0xFFFF888000100000, RAM, b"ram " * 2048),
    ])  # fmt: skip
    yield fd
    os.close(fd)


def test_segments_with_a_physical_address_are_told_apart_by_their_virtual_one(core):
    assert [(each.kind, each.physical, each.size) for each in kcore.segments(core)] == [
        (kcore.IMAGE, CODE, 4096), (kcore.DIRECT, RAM, 8192),
    ]  # fmt: skip


def test_a_physical_address_is_read_in_each_mapping_that_has_it(core):
    some = kcore.segments(core)
    assert kcore.read_at(core, some, CODE + 4, 4) == {kcore.IMAGE: b"code"}
    assert kcore.read_at(core, some, RAM + 8188, 4) == {kcore.DIRECT: b"ram "}
    assert kcore.read_at(core, some, RAM + 8192, 4) == {}


def test_frames_of_the_image_are_counted_by_the_mappings_that_show_them(tmp_path, monkeypatch):
    empty, full = bytes(PAGE_BYTES), b"x" * PAGE_BYTES
    path = tmp_path / "kcore"
    os.close(core_file(path, [
        (0xFFFFFFFF81000000, CODE, full + full + empty + empty),
        (0xFFFF888001000000, CODE, full + empty + full + empty),
    ]))  # fmt: skip
    monkeypatch.setattr(kcore, "PATH", path)
    assert imageframes.compared() == {"direct map, kernel image": 1, "kernel image": 1, "direct map": 1, "neither": 1}


def test_what_is_no_core_file_is_an_error(tmp_path):
    path = tmp_path / "kcore"
    path.write_bytes(b"\x7fELF\x01\x01" + bytes(100))
    fd = os.open(path, os.O_RDONLY)
    with pytest.raises(ValueError, match="64-bit"):
        kcore.segments(fd)
    os.close(fd)


@pytest.mark.parametrize("at", [0, 8, 4096 - 24, CHUNK - 8, CHUNK - 32, CHUNK, 2 * CHUNK - MARKER_BYTES])
def test_a_needle_is_found_across_the_pieces_that_are_read(library, marker, at):
    data = bytearray(2 * CHUNK)
    data[at : at + MARKER_BYTES] = marker
    assert searched(search_of(library, it=marker), data) == [("it", at, MARKER_BYTES // WORD)]


@pytest.mark.parametrize("shift", range(1, 8))
def test_a_needle_is_found_wherever_it_begins(library, marker, shift):
    data = bytearray(CHUNK + 4096)
    at = CHUNK - 32 + shift
    data[at : at + MARKER_BYTES] = marker
    assert searched(search_of(library, it=marker), data) == [("it", at, MARKER_BYTES // WORD - 1)]


@pytest.mark.parametrize("first", range(0, 48, 7))
def test_fifteen_bytes_of_a_needle_are_found_wherever_they_begin(library, marker, first):
    beside = next(byte for byte in range(256) if byte not in marker)  # which continues no part of it
    for shift in range(8):
        data = bytearray([beside]) * 4096
        data[1000 + shift : 1015 + shift] = marker[first : first + 15]
        ((name, at, words),) = searched(search_of(library, it=marker), data)
        assert (name, at, words) == ("it", 1000 + shift - first, 1)


def test_needles_are_told_apart_and_all_places_are_found(library, marker):
    other = os.urandom(MARKER_BYTES)
    data = bytearray(1 << 16)
    for at, content in ((64, marker), (4096, other), (8192, marker)):
        data[at : at + MARKER_BYTES] = content
    found = searched(search_of(library, a=marker, b=other), data)
    assert found == [(name, at, MARKER_BYTES // WORD) for name, at in (("a", 64), ("b", 4096), ("a", 8192))]


def test_random_bytes_and_zeros_have_nothing_of_a_needle(library, marker):
    search = search_of(library, it=marker)
    assert searched(search, os.urandom(1 << 20) + bytes(1 << 20)) == []
    assert search.read == 2 << 20


def test_what_was_read_is_not_left_in_plain_nor_is_what_is_looked_for(library, marker):
    """Neither in the buffer, nor in it once more when what is read are the search's own tables."""
    search = search_of(library, it=marker)
    codes = b"".join(code.to_bytes(WORD, "little") for code in search._parts)
    data = marker + codes + bytes(4096)
    found = searched(search, data)
    buffer = search._buffer.tobytes()
    parts = [marker[i : i + WORD] for i in range(MARKER_BYTES - WORD + 1)]
    assert [place for place in found if place[0] == "it"] == [("it", 0, MARKER_BYTES // WORD)]
    assert not any(part in buffer or part in codes for part in parts)


def test_memory_that_cannot_be_read_is_an_error_and_not_clean(library, marker):
    with pytest.raises(EOFError):
        search_of(library, it=marker).places(4096, lambda buffer, offset: 0)


def test_the_disk_is_searched_in_all_that_was_written(library, marker, tmp_path):
    path = tmp_path / "disk"
    disk.make(path)
    other = os.urandom(MARKER_BYTES)
    with path.open("r+b") as file:
        file.seek(disk.BYTES // 2 + 512)
        file.write(marker)
    needles = [needle_of("there", marker, 0), needle_of("not there", other, 0)]
    looked = disk.look(path, needles, library)
    assert looked.found == {"there"}
    assert 0 < looked.read < 1 << 24, "a sparse file is not read whole"


def test_the_initramfs_is_what_an_unpacker_unpacks(tmp_path):
    root = tmp_path / "root"
    files = {"init": b"#!/bin/sh\n", "site/a.py": b"", "site/deep/er/b": os.urandom(1001)}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "init").chmod(0o755)
    image.write_archive(root, tmp_path / "archive")
    found = unpacked((tmp_path / "archive").read_bytes())
    assert {name: content for name, (mode, content) in found.items() if stat.S_ISREG(mode)} == files
    assert found["init"][0] == stat.S_IFREG | 0o755
    assert stat.S_ISDIR(found["site/deep"][0])
    assert stat.S_ISCHR(found["dev/console"][0])
    assert list(found)[-1] == "TRAILER!!!"


def unpacked(archive):
    """Mode and content by name, of cpio's "newc" format."""
    found, at = {}, 0
    while at < len(archive):
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = archive[at + 110 : at + 110 + fields[11]]
        assert name[-1] == 0
        start = at + (110 + fields[11] + 3) // 4 * 4
        found[name[:-1].decode()] = fields[1], archive[start : start + fields[6]]
        at = start + (fields[6] + 3) // 4 * 4
    return found


def test_the_newest_kernel_of_the_cloud_flavour_is_taken():
    names = ["linux-image-6.12.9+deb13-cloud-amd64", "linux-image-6.12.117+deb13-cloud-amd64",
             "linux-image-cloud-amd64", "linux-image-6.12.118+deb13-amd64",
             "linux-image-6.12.119+deb13-cloud-amd64-dbg"]  # fmt: skip
    assert newest_release("\n".join(names)) == "6.12.117+deb13-cloud-amd64"
    with pytest.raises(RuntimeError):
        newest_release("linux-image-amd64\n")


def test_the_report_is_of_every_kernel_and_all_is_as_it_must_be():
    kept = report.kept()
    assert list(kept["kernels"]) == list(KERNELS)
    for name, one in kept["kernels"].items():
        assert set(command.BOOTS) - set(one["boots"]) == (set() if name == "6.1" else {"by default"})
    assert expectations.unmet(kept) == []


def test_a_measurement_that_is_missing_or_wrong_is_told():
    kept = report.kept()
    measured = kept["kernels"]["6.12"]["boots"]["live"]["measured"]
    del measured["swap: pages"]
    measured["live: ordinary markers"]["value"]["found"] -= 1
    measured["hibernation asked for"] = {"lacking": "no hibernation"}
    told = expectations.unmet(kept)
    assert len(told) == 3
    assert sum("not measured" in each for each in told) == 2
    assert "hibernation asked for" not in str(told)
    assert "**not measured**" in report.markdown(kept)
    assert "not there: no hibernation" in report.markdown(kept)


@pytest.mark.parametrize("each", [each for each in expectations.EXPECTATIONS if each.met and not each.control],
                         ids=lambda each: each.row)  # fmt: skip
def test_each_attack_has_a_control_in_its_boot(each):
    assert any(other.control for other in expectations.EXPECTATIONS if other.boot == each.boot)


def test_the_table_has_a_row_for_each_expectation_and_a_column_for_each_kernel():
    lines = report.markdown(report.kept()).splitlines()
    assert len(lines) == 2 + len(expectations.EXPECTATIONS)
    assert {line.count(" | ") for line in lines[2:] if "\\|" not in line} == {1 + len(KERNELS)}
    assert "**" not in "".join(lines)


def test_what_is_measured_of_one_kernel_leaves_the_others_as_they_were(tmp_path):
    path = tmp_path / "report.json"
    command.write({"versions": {}, "kernels": {"7": {"release": "kept"}, "6.1": {"release": "old"}}}, path)
    command.write({"versions": {}, "kernels": {"6.1": {"release": "new"}}}, path)
    kernels = json.loads(path.read_text())["kernels"]
    assert [(name, one["release"]) for name, one in kernels.items()] == [("6.1", "new"), ("7", "kept")]
