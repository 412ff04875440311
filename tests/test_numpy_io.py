"""Layer 5: arrays from and into files, straight between the kernel and secret pages."""
import gzip
import io
import os
import pickle
import socket
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import maps
from support.fixtures import nothing_leaks  # noqa: F401
from support.leaks import places

import secalloc.numpy as snp
from secalloc import AllocationError, Heap

DTYPES = ["u1", ">i4", "f8", "c16", "?", "S7", "U3", "M8[s]", "i4,f8", [("a", "f4", (2, 2)), ("é", "u1")]]
SHAPES = [(), (0,), (7,), (3, 0, 2), (3, 5), (2, 3, 4), (300, 200)]


def filled(shape, dtype):
    a = np.zeros(shape, dtype)
    a.reshape(-1).view("u1")[:] = np.random.default_rng(1).integers(2, size=a.nbytes) if a.nbytes else []
    return a


def same(made, expected):
    assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
    assert made.strides == expected.strides or not made.size
    assert made.tobytes() == expected.tobytes()
    assert snp.is_secret(made)
    assert made.flags.owndata
    assert made.flags.writeable


# --- .npy ---


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_numpy_reads_what_we_save_and_we_read_what_numpy_saves(shape, dtype, tmp_path):
    whole = filled(shape, dtype)
    for a in (whole, np.asfortranarray(whole), whole[::2] if shape else whole):
        np.save(tmp_path / "theirs.npy", a)
        same(snp.load(tmp_path / "theirs.npy"), np.load(tmp_path / "theirs.npy").copy(order="K"))
        snp.save(tmp_path / "ours.npy", snp.array(a))
        loaded = np.load(tmp_path / "ours.npy")
        assert (loaded.shape, loaded.dtype, loaded.tobytes()) == (a.shape, a.dtype, a.tobytes())
        if dtype != DTYPES[-1]:
            snp.save(tmp_path / "ours.npy", a)
            assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


VERSIONS = st.sampled_from([(1, 0), (2, 0), (3, 0)])


@given(hnp.arrays(hnp.array_dtypes(), hnp.array_shapes(min_dims=0, min_side=0)), VERSIONS)
def test_every_version_of_the_format_is_read(a, version):
    file = io.BytesIO()
    try:
        np.lib.format.write_array(file, a, version)
    except UnicodeEncodeError:  # names that this version cannot hold
        version = (3, 0)
        file = io.BytesIO()
        np.lib.format.write_array(file, a, version)
    file.seek(0)
    loaded = snp.load(file)
    assert (loaded.dtype, loaded.tobytes()) == (a.dtype, a.tobytes())
    file = io.BytesIO()
    snp.save(file, loaded)
    file.seek(0)
    assert np.load(file).dtype == a.dtype


MODES = {"raw": ("rb", 0), "buffered": ("rb",), "both ways": ("rb+",)}


def opened(path, how):
    """A file to read from, by its kind, standing 5 bytes behind its start."""
    if how == "descriptor":
        fd = os.open(path, os.O_RDONLY)
        os.lseek(fd, 5, os.SEEK_SET)
        return fd
    file = io.BytesIO(path.read_bytes()) if how == "memory" else open(path, *MODES[how])  # noqa: SIM115
    file.seek(1)
    file.read(4)
    return file


@pytest.mark.parametrize("how", ["descriptor", "raw", "buffered", "both ways", "memory"])
def test_arrays_follow_each_other_in_any_kind_of_file(how, tmp_path):
    path = tmp_path / "some"
    first, second = filled((300, 20), "f8"), filled(9, "u2")
    with open(path, "wb") as file:
        file.write(b"other")
        for a in (first, second):
            snp.save(file, a)
        file.write(b"rest")
    file = opened(path, how)
    same(snp.load(file), first)
    same(snp.load(file), second)
    assert (os.read(file, 9) if how == "descriptor" else file.read()) == b"rest"
    os.close(file) if how == "descriptor" else file.close()


@pytest.mark.parametrize("how", ["descriptor", "raw", "buffered", "both ways", "memory"])
def test_saving_goes_on_where_the_file_stands(how, tmp_path):
    path, a = tmp_path / "some", filled((100, 3), "f4")
    if how == "descriptor":
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(file, b"other")
        snp.save(file, a)
        os.write(file, b"rest")
        os.close(file)
    else:
        mode, buffering = "wb+" if how == "both ways" else "wb", 0 if how == "raw" else -1
        file = io.BytesIO() if how == "memory" else open(path, mode, buffering)  # noqa: SIM115
        file.write(b"other")
        snp.save(file, a)
        file.write(b"rest")
        path.write_bytes(file.getvalue()) if how == "memory" else file.close()
    with open(path, "rb") as file:
        assert file.read(5) == b"other"
        assert np.load(file).tobytes() == a.tobytes()
        assert file.read() == b"rest"


def test_a_compressed_file_gives_its_content_and_not_its_descriptor_s(tmp_path):
    a = filled((40, 50), "f8")
    with gzip.open(tmp_path / "packed", "wb") as file:
        np.save(file, a)
    with gzip.open(tmp_path / "packed") as file:
        same(snp.load(file), a)
    with gzip.open(tmp_path / "packed", "wb") as file:
        snp.save(file, a)
    with gzip.open(tmp_path / "packed") as file:
        assert np.load(file).tobytes() == a.tobytes()


def through(source, work):
    """Whatever a thread writes into one end; answers what `work` makes of the other."""
    thread = threading.Thread(target=source)
    thread.start()
    try:
        return work()
    finally:
        thread.join()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_pipes_and_sockets_are_written_and_read_a_part_at_a_time(kind):
    if kind == "pipe":
        get, put = os.pipe()
    else:
        get, put = (end.detach() for end in socket.socketpair())
    a = filled(300_000, "u2")

    def send():
        snp.save(put, a)
        with open(put, "wb") as file:
            file.write(a.tobytes()[:-1])

    with open(get, "rb", buffering=0) as file:
        loaded, rest = through(send, lambda: (snp.load(file), snp.fromfile(file, "u2")))
    same(loaded, a)
    same(rest, a[:-1])


def test_a_path_gets_the_ending_and_a_new_file_is_its_owner_s_alone(tmp_path):
    for path in (tmp_path / "one", str(tmp_path / "two"), os.fsencode(tmp_path / "three.npy")):
        snp.save(path, [1.5, 2])
    assert sorted(os.listdir(tmp_path)) == ["one.npy", "three.npy", "two.npy"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    same(snp.load(str(tmp_path / "one.npy")), np.array([1.5, 2]))
    snp.save(tmp_path / "one", np.arange(0))
    assert len(np.load(tmp_path / "one.npy")) == 0


@pytest.mark.parametrize("named", [{"allow_pickle": True}, {"mmap_mode": "r"}], ids=str)
def test_what_needs_ordinary_memory_is_refused(named, tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(ValueError, match="ordinary memory"):
        snp.load(tmp_path / "a.npy", **named)
    if "allow_pickle" in named:
        with pytest.raises(ValueError, match="ordinary memory"):
            snp.save(tmp_path / "b.npy", np.arange(3), **named)


def test_files_of_other_kinds_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", np.arange(3))
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    (tmp_path / "pickle").write_bytes(pickle.dumps([1]))
    (tmp_path / "nothing").write_bytes(b"")
    np.save(tmp_path / "short.npy", np.arange(30))
    os.truncate(tmp_path / "short.npy", 200)
    (tmp_path / "newer").write_bytes(b"\x93NUMPY\x04\x00" + bytes(100))
    for name, error, words in (
        ("a.npz", ValueError, "npz"), ("objects.npy", TypeError, "ordinary memory"), ("pickle", ValueError, "magic"),
        ("nothing", ValueError, "magic"), ("short.npy", ValueError, "ends before"), ("newer", ValueError, "version"),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            snp.load(tmp_path / name)
    for name in ("nowhere.npy", "."):
        with pytest.raises(OSError, match=name):
            snp.load(tmp_path / name)
    for bad in (None, 1.5, [1]):
        with pytest.raises((TypeError, AttributeError)):
            snp.load(bad)
    with pytest.raises(TypeError, match="ordinary memory"):
        snp.save(tmp_path / "b.npy", np.array([None]))
    assert not (tmp_path / "b.npy").exists()


@pytest.mark.parametrize("header", [b"", b"{", b"{}", b"{'descr': 'f8', 'fortran_order': 1, 'shape': ()}",
                                    b"{'descr': 'f8', 'fortran_order': False, 'shape': (-3,)}",
                                    b"{'descr': 'f8', 'fortran_order': False, 'shape': (99999999999999,)}",
                                    b"{'descr': 'f8', 'fortran_order': False, 'shape': (2**60,)}",
                                    b"{'descr': 'no such', 'fortran_order': False, 'shape': ()}"])  # fmt: skip
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_damaged_header_is_an_error(header, version):
    size = len(header).to_bytes(2 if version == 1 else 4, "little")
    for start in (size, b"\xff" * len(size), size[:1]):
        with pytest.raises((ValueError, AllocationError)):
            snp.load(io.BytesIO(b"\x93NUMPY" + bytes([version, 0]) + start + header))


def test_a_long_header_is_refused_unless_its_length_is_allowed(tmp_path):
    a = np.zeros(2, [(f"field{i}", "u1") for i in range(2_000)])
    snp.save(tmp_path / "long.npy", a)
    with pytest.raises(ValueError, match="max_header_size"):
        snp.load(tmp_path / "long.npy")
    assert snp.load(tmp_path / "long.npy", max_header_size=100_000).dtype == a.dtype


# --- plain data ---


KINDS = st.sampled_from(["u1", ">i4", "f8", "S3", "i2,u1"])


@given(st.binary(max_size=200), KINDS, st.integers(-1, 30), st.integers(0, 20))
def test_plain_data_is_read_as_numpy_reads_it(data, dtype, count, offset):
    fd, offset = os.memfd_create("data"), min(offset, len(data))  # beyond the end numpy's own count is negative
    with open(fd, "wb+") as file:
        file.write(b"abc" + data)
        file.seek(min(3, len(data)))
        theirs = np.fromfile(file, dtype, count, offset=offset)
        file.seek(min(3, len(data)))
        ours = snp.fromfile(file, dtype, count, offset=offset)
        same(ours, theirs)
        assert file.tell() == min(3, len(data)) + offset + ours.nbytes
        os.lseek(fd, min(3, len(data)), os.SEEK_SET)
        same(snp.fromfile(fd, dtype, count, offset=offset), theirs)
        same(snp.fromfile(f"/proc/self/fd/{fd}", dtype, count), np.fromfile(f"/proc/self/fd/{fd}", dtype, count))


def test_text_is_refused():
    with pytest.raises(ValueError, match="ordinary memory"):
        snp.fromfile("/dev/null", sep=" ")


def test_what_is_read_goes_to_the_heap_and_a_limit_is_an_error(tmp_path):
    heap = Heap("files", limit="256 KiB")
    np.save(tmp_path / "small.npy", np.arange(1_000))
    np.save(tmp_path / "large.npy", np.arange(100_000))
    a, b = snp.load(tmp_path / "small.npy", heap=heap), snp.fromfile(tmp_path / "small.npy", heap=heap)
    assert heap.stats().live == 2
    for call in (snp.load, snp.fromfile):
        with pytest.raises(AllocationError, match="limit"):
            call(tmp_path / "large.npy", heap=heap)
    before = maps.descriptors()
    assert heap.stats().live == 2
    assert maps.descriptors() == before
    del a, b


# --- what is left in memory ---

SIZE = 200_000  # bytes
READS = {  # of a file of 32 lines of bytes, of which three are looked for: ours, and the control
    "load": ('kept = snp.load(sys.argv[1], heap=secrets)', 'kept = np.load(sys.argv[1])'),
    "load, dropped": ('snp.load(sys.argv[1], heap=secrets)', 'with open(sys.argv[1], "rb") as f: kept = f.read()'),
    "load of a buffered file": ('with open(sys.argv[1], "rb") as f: kept = f, snp.load(f, heap=secrets)',
                                'f = open(sys.argv[1], "rb"); kept = f, np.load(f)'),
    "fromfile": ('kept = snp.fromfile(sys.argv[1], heap=secrets)', 'kept = np.fromfile(sys.argv[1])'),
    "fromfile of a pipe": ('kept = snp.fromfile(os.popen("cat " + sys.argv[1]).fileno(), heap=secrets)',
                           'kept = os.popen("cat " + sys.argv[1]).buffer.read()'),
    "save": ('snp.save("/dev/null", snp.load(sys.argv[1], heap=secrets))',
             'kept = snp.load(sys.argv[1], heap=secrets).tobytes()'),
    "save of what is not contiguous": ('snp.save("/dev/null", snp.load(sys.argv[1], heap=secrets)[::2], heap=secrets)',
                                       'kept = snp.load(sys.argv[1], heap=secrets)[::2].tobytes()'),
    "frombuffer": ('kept = snp.frombuffer(SecureBytes.from_file(sys.argv[1], heap=secrets))',
                   'kept = np.array(np.frombuffer(SecureBytes.from_file(sys.argv[1], heap=secrets)))'),
    "array": ('kept = snp.array(snp.load(sys.argv[1], heap=secrets), heap=secrets)',
              'kept = np.array(snp.load(sys.argv[1], heap=secrets))'),
    "copies and conversions": ('a = snp.load(sys.argv[1], heap=secrets)\n'
                               'kept = snp.copy(a, heap=secrets), snp.asarray(a.T[::-1], heap=secrets)\n'
                               'kept += snp.array(a, guarded=True, heap=secrets), snp.copy(a.T, "F", heap=secrets)',
                               'kept = snp.load(sys.argv[1], heap=secrets).copy()'),
    "a pickle out of band": ('import pickle; a = snp.load(sys.argv[1], heap=secrets); kept = []\n'
                             'kept.append(pickle.dumps(a, 5, buffer_callback=kept.append))',
                             'import pickle; kept = pickle.dumps(snp.load(sys.argv[1], heap=secrets))'),
}  # fmt: skip


@pytest.mark.parametrize("which", [0, 1], ids=["ours", "the control"])
@pytest.mark.parametrize("what", READS)
def test_what_was_read_or_written_is_on_secret_pages_alone(what, which, tmp_path):
    lines = [os.urandom(8) * (SIZE // 32 // 8) for _ in range(32)]
    np.save(tmp_path / "secret.npy", np.frombuffer(b"".join(lines)))
    needles = {name: lines[i][:8] * 3 for name, i in {"first": 0, "middle": 16, "last": 31}.items()}
    found = places(READS[what][which], needles, tmp_path / "secret.npy")
    assert all(found.values()) if which else not any(found.values()), found


DRAWS = {
    "floats": ("snp.random(5_000, heap=secrets)", "np.random.default_rng().random(5_000)"),
    "integers": ('snp.random(5_000, "u4", heap=secrets)', 'np.frombuffer(os.urandom(20_000), "u4")'),
    "guarded": ("snp.random(500, guarded=True, heap=secrets)", "np.random.default_rng().random(500)"),
    "of a generator": ("snp.generator(secrets).standard_normal(out=snp.empty(5_000, heap=secrets))",
                       "snp.generator(secrets).standard_normal(5_000)"),
    "of a generator in a block": ("inside(lambda: snp.generator(secrets).permutation(5_000))",
                                  "snp.generator(secrets).permutation(5_000)"),
}  # fmt: skip


@pytest.mark.parametrize("which", [0, 1], ids=["ours", "the control"])
@pytest.mark.parametrize("what", DRAWS)
def test_random_numbers_are_on_secret_pages_alone(what, which, tmp_path):
    """The program tells them by saving them; what saving leaves is looked at above."""
    path = tmp_path / "drawn.npy"

    def needles():
        data = np.load(path).tobytes()
        return {"first": data[:24], "middle": data[2_000:2_024], "last": data[-24:]}

    inside = "def inside(make):\n    with snp.secure_arrays(secrets): return make()\n"
    found = places(f"{inside}kept = {DRAWS[what][which]}\nsnp.save(sys.argv[1], kept)", needles, path)
    assert all(found.values()) if which else not any(found.values()), found


def test_a_pickle_is_an_ordinary_copy_and_one_out_of_band_the_secret_pages_themselves():
    a = snp.arange(1_000)
    assert not snp.is_secret(pickle.loads(pickle.dumps(a)))
    with snp.secure_arrays():  # numpy's array is a view of the pickle's own bytes
        assert not snp.is_secret(pickle.loads(pickle.dumps(a)))
    buffers = []
    told = pickle.dumps(a, protocol=5, buffer_callback=buffers.append)
    again = pickle.loads(told, buffers=buffers)
    assert snp.is_secret(again)
    again[0] = 7
    assert a[0] == 7
