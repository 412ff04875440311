"""Wiping all at once: by call, at a signal, at exit."""
import signal

import pytest
from support import capi, maps
from support.children import run, succeed

from secalloc import Heap, SecureBytes, wipe_on_signal

SIZES = [1, 32, 1000, 16_000, 20_000, 1_000_000]


def test_a_heap_is_wiped_and_its_objects_live_on():
    heap, other = Heap("burning"), Heap("safe")
    keys = [SecureBytes(b"x" * size, heap=heap, guarded=guarded) for size in SIZES for guarded in (False, True)]
    bystander = SecureBytes(b"bystander", heap=other)
    keys[-1].noaccess()
    keys[-3].readonly()
    heap.wipe()
    assert heap.is_valid()
    for key in keys:
        with key.unlocked() if key.guarded else memoryview(key):
            assert key == bytes(len(key))
    assert heap.stats().live == len(keys)
    assert bystander == b"bystander"
    heap.wipe()  # a heap can be wiped when it is empty, and again
    Heap("empty").wipe()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_the_default_action_of_a_signal_is_taken_after_the_wipe(number):
    done = run(
        """
        import os, signal, sys
        from secalloc import SecureBytes, wipe_on_signal
        signal.signal(int(sys.argv[1]), signal.SIG_DFL)  # nohup has one ignored
        key = SecureBytes(b"secret")
        wipe_on_signal(int(sys.argv[1]))
        os.kill(os.getpid(), int(sys.argv[1]))
        """,
        int(number),
    )
    assert done.returncode == -number
    assert done.stderr == ""


def test_python_s_own_handler_runs_after_the_wipe_and_finds_zeros():
    succeed(
        """
        import os, signal
        from secalloc import SecureBytes, wipe_on_signal
        key, big = SecureBytes(b"secret"), SecureBytes(b"s" * 100_000)
        kept = bytearray(b"secret")  # the control: what is not ours stays
        signal.signal(signal.SIGUSR1, lambda *_: None)
        wipe_on_signal(signal.SIGUSR1)
        assert key == b"secret"
        os.kill(os.getpid(), signal.SIGUSR1)
        assert key == bytes(6) and big == bytes(100_000) and kept == b"secret"
        wipe_on_signal(signal.SIGUSR1)  # once more: the handlers do not pile up
        key[:] = b"secret"
        os.kill(os.getpid(), signal.SIGUSR1)
        assert key == bytes(6)
        """
    )


@pytest.mark.parametrize(
    "work",
    [
        "heap.lock(); heap.unlock()",
        "heap.lock(); heap.unlocked().__enter__(); heap.unlocked().__exit__(); heap.unlock()",
        "key = SecureBytes(b'key', heap=heap, guarded=True); key.noaccess(); del key",
        "key = SecureBytes(100_000, heap=heap); del key",
    ],
    ids=["a lock", "a block", "a guarded object", "a large object"],
)
def test_signals_at_any_moment_of_a_change_of_protection_do_no_harm(work):
    """Hundreds, each at another instruction: most while mprotect(2) opens or closes pages, one after another."""
    succeed(
        """
        import signal, sys
        from secalloc import Heap, SecureBytes, wipe_on_signal
        heap = Heap("h")
        keys = [SecureBytes(b"x" * 3000, heap=heap) for _ in range(2000)]
        seen = []
        signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
        wipe_on_signal(signal.SIGALRM)
        work = compile(sys.argv[1], "work", "exec")
        signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
        while len(seen) < 300:
            exec(work)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert heap.is_valid() and not any(any(bytes(key)) for key in keys)
        """,
        work,
    )


def test_a_call_to_wipe_leaves_closed_pages_closed():
    heap = Heap("locked")
    slot, guarded = SecureBytes(b"slot", heap=heap), SecureBytes(b"guarded", heap=heap, guarded=True)
    addresses = [capi.address_of(slot), capi.address_of(guarded)]
    guarded.noaccess()
    heap.lock()
    heap.wipe()
    if heap.stats().protection_key:
        assert [maps.protection_key_at(address) for address in addresses] == [heap.stats().protection_key] * 2
    else:
        assert all(maps.mapping_at(address).is_closed for address in addresses)
    heap.unlock()
    assert maps.mapping_at(addresses[1]).is_closed
    assert slot == bytes(4)


def test_an_ignored_signal_wipes_and_stays_ignored():
    succeed(
        """
        import os, signal
        from secalloc import SecureBytes, wipe_on_signal
        key = SecureBytes(b"secret")
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        wipe_on_signal(signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert key == bytes(6)
        """
    )


@pytest.mark.parametrize("wiping", [True, False], ids=["with it", "the control without"])
def test_what_is_alive_at_exit_is_wiped(wiping):
    """A second exit handler, registered before ours and so run after it, writes the key's bytes to standard output."""
    printed = succeed(
        """
        import ctypes, os, sys
        from secalloc import SecureBytes, wipe_on_signal
        key = SecureBytes(b"secret")
        address = ctypes.addressof(ctypes.c_char.from_buffer(key))
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(key))  # alive to the very end
        libc = ctypes.CDLL(None)
        libc.on_exit.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        import subprocess, sysconfig, tempfile
        folder = tempfile.mkdtemp()
        with open(folder + "/look.c", "w") as file:
            file.write("#include <unistd.h>\\nvoid look(int s, void *p) { if (write(1, p, 6) < 0) _exit(3); }")
        compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
        subprocess.run([compiler, "-shared", "-fPIC", "-o", folder + "/look.so", folder + "/look.c"], check=True)
        look = ctypes.CDLL(folder + "/look.so").look
        libc.on_exit(ctypes.cast(look, ctypes.c_void_p), address)
        if sys.argv[1] == "True":
            wipe_on_signal()
        """,
        wiping,
    )
    assert printed == ("\0" * 6 if wiping else "secret")


@pytest.mark.parametrize("number", [0, -1, signal.SIGKILL, signal.SIGSTOP, 65, 10_000])
def test_a_signal_that_cannot_be_caught_is_refused(number):
    with pytest.raises(OSError, match="cannot be caught"):
        wipe_on_signal(number, at_exit=False)


@pytest.mark.parametrize("size", SIZES)
def test_flushing_wipes_as_well_as_any(size):
    heap = Heap("flushed", flush_on_wipe=True)
    key = SecureBytes(b"x" * size, heap=heap)
    address = capi.address_of(key)
    other = SecureBytes(size, heap=heap)
    del key
    if size <= 16_000:
        assert capi.read(address, size) == bytes(size)
    assert heap.is_valid()
    heap.wipe()
    assert other == bytes(size)
