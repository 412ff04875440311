"""Which backend holds an object: what it says, and what the kernel says of its address."""
import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import capi, growth, maps
from support.children import run, succeed

import secalloc.numpy as snp
from secalloc import Heap, SecureBytes

TELL = """
import os, sys, warnings, secalloc
import secalloc.numpy as snp
from secalloc import Heap, SecureBytes
from secalloc_ext.heapobject import probe
from support import capi, growth, hostile, maps
warnings.simplefilter("ignore", DeprecationWarning)  # of forks: a thread that was joined may still be counted

def told(thing):
    return thing.backend if isinstance(thing, SecureBytes) else snp.backend(thing)

def seen(thing):
    return maps.backend_at(capi.address_of(thing))
"""


@pytest.fixture(params=["secretmem", "mlock", "auto"])
def backend(request):
    return request.param


def held_by(backend):
    """What "auto" is on a machine that has memfd_secret, as this one."""
    return "secretmem" if backend == "auto" else backend


@pytest.mark.parametrize("kind", growth.KINDS)
def test_an_object_of_each_kind_tells_what_the_kernel_says_of_its_pages(backend, kind):
    heap = Heap("telling", backend=backend)
    made = growth.KINDS[kind]()(heap)
    told = made.backend if isinstance(made, SecureBytes) else snp.backend(made)
    assert told == heap.backend == maps.backend_at(capi.address_of(made)) == held_by(backend)


def test_pages_of_mlock_are_locked_not_dumped_and_not_for_forked_children():
    """What `maps` takes for the mark of that backend; guarded ones have it in every state."""
    heap = Heap("locked", backend="mlock")
    key = SecureBytes(100, heap=heap, guarded=True)
    address = capi.address_of(key)
    for protect in (key.noaccess, key.readonly, key.readwrite):
        protect()
        assert maps.flags_at(address) >= {"lo", "dd", "dc"}
    assert not maps.flags_at(id(object())) & {"lo", "dd", "dc"}


def test_arrays_in_ordinary_memory_and_views_tell_too():
    heap = Heap("telling", backend="mlock")
    large = snp.zeros(100_000, heap=heap)
    assert snp.backend(large[-1:]) == snp.backend(large[50_000:].reshape(2, -1)) == "mlock"
    assert snp.backend(np.zeros(100)) is snp.backend(np.zeros(1_000_000)) is None
    assert snp.backend(np.frombuffer(SecureBytes(b"12345678", heap=heap))) == "mlock"


def test_no_address_but_that_of_a_mapped_page_has_a_backend():
    from secalloc_ext.arraydata import backend_at

    large = snp.zeros(100_000)
    first, end = (getattr(maps.mapping_at(large.ctypes.data), edge) for edge in ("start", "end"))
    assert backend_at(first) == backend_at(end - 1) == snp.backend(large) is not None
    for address in (0, first - 1, end, end + (1 << 30), id(large), 2**64 - 1):
        assert backend_at(address) is maps.backend_at(address) is None


def test_two_heaps_of_different_backends_live_side_by_side():
    heaps = {backend: Heap(backend, backend=backend) for backend in ("secretmem", "mlock")}
    keys = [(backend, SecureBytes(size, heap=heap)) for size in (1, 32, 20_000) for backend, heap in heaps.items()]
    assert all(key.backend == backend == maps.backend_at(capi.address_of(key)) for backend, key in keys)


def test_a_copy_in_a_forked_child_tells_its_own_pages(backend):
    succeed(
        TELL
        + """
heap = Heap("copied", backend=sys.argv[1], on_fork="copy")
made = [make()(heap) for make in growth.KINDS.values()]
pid = os.fork()
results = {(told(each), seen(each)) for each in made}
if pid == 0:
    os._exit(0 if results == {(sys.argv[2], sys.argv[2])} else 1)
assert results == {(sys.argv[2], sys.argv[2])}
assert os.waitpid(pid, 0)[1] == 0
""",
        backend, held_by(backend),
    )  # fmt: skip


def test_an_array_that_a_forked_child_cannot_see_has_no_backend_there(backend):
    succeed(
        TELL
        + """
array = snp.zeros(5_000, heap=Heap("isolated", backend=sys.argv[1]))
assert told(array) == seen(array) == sys.argv[2]
pid = os.fork()
if pid == 0:
    os._exit(0 if told(array) is seen(array) is None else 1)
assert os.waitpid(pid, 0)[1] == 0
""",
        backend, held_by(backend),
    )  # fmt: skip


# --- choosing ---


def test_the_environment_chooses_for_all_heaps_that_name_none(backend):
    succeed(
        TELL
        + """
for heap in (None, Heap("other")):
    key = SecureBytes(32, heap=heap)
    assert told(key) == seen(key) == sys.argv[1]
for named in ("secretmem", "mlock"):
    key = SecureBytes(32, heap=Heap("named", backend=named))
    assert told(key) == seen(key) == named
""",
        held_by(backend), environment={"SECALLOC_BACKEND": backend},
    )  # fmt: skip


def test_configure_overrules_the_environment(backend):
    succeed(
        TELL
        + """
secalloc.configure(backend=sys.argv[1])
for heap in (None, Heap("other")):
    key = SecureBytes(32, heap=heap)
    assert told(key) == seen(key) == sys.argv[2]
""",
        backend, held_by(backend), environment={"SECALLOC_BACKEND": "mlock"},
    )  # fmt: skip


def test_without_a_choice_it_is_memfd_secret(monkeypatch):
    monkeypatch.delenv("SECALLOC_BACKEND", raising=False)
    succeed(TELL + "assert told(key := SecureBytes(1)) == seen(key) == 'secretmem'")


@pytest.mark.parametrize("name", ["nonsense", "", "MLOCK"])
def test_an_unknown_name_in_the_environment_is_an_error_at_once(name):
    done = run("import secalloc", environment={"SECALLOC_BACKEND": name})
    assert done.returncode == 1
    assert f"SECALLOC_BACKEND, is 'secretmem', 'mlock' or 'auto', not {name!r}" in done.stderr


def test_these_tests_do_not_begin_under_an_unknown_name():
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", __file__], env=os.environ | {"SECALLOC_BACKEND": "nonsense"},
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "SECALLOC_BACKEND is 'nonsense'" in done.stdout + done.stderr


# --- auto ---


def test_auto_is_silent_where_there_is_secret_memory():
    succeed("import secalloc; secalloc.SecureBytes(1)", environment={"SECALLOC_BACKEND": "auto"})


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_auto_falls_back_to_mlock_with_one_warning(code):
    succeed(
        TELL
        + """
assert probe() is None  # the control: it is the filter
hostile.refuse_memfd_secret(int(sys.argv[1]))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    secalloc.configure(backend="auto")
    made = [SecureBytes(32), *(make()(Heap("after", backend="auto")) for make in growth.KINDS.values())]
assert [each.category for each in caught] == [secalloc.SecretMemoryWarning]
assert "which root can read" in str(caught[0].message)
assert {(told(each), seen(each)) for each in made} == {("mlock", "mlock")}
""",
        code,
    )


def test_auto_does_not_fall_back_where_the_warning_is_an_error():
    succeed(
        TELL
        + """
hostile.refuse_memfd_secret(38)
warnings.simplefilter("error")
for _ in range(2):
    try:
        Heap("unwelcome", backend="auto")
        raise SystemExit("not raised")
    except secalloc.SecretMemoryWarning:
        pass
"""
    )


def test_auto_does_not_fall_back_for_want_of_a_descriptor():
    """That passes; weaker pages would stay."""
    succeed(
        TELL
        + """
with hostile.NoDescriptorLeft():
    try:
        Heap("starved", backend="auto")
        raise SystemExit("not refused")
    except secalloc.AllocationError as error:
        assert "descriptor" in str(error)
assert Heap("fed", backend="auto").backend == "secretmem"
"""
    )
