"""Layer 5: `scope`, Python's own objects on secret pages (PEP 445)."""
import asyncio
import gc
import os
import pickle
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.children import run, succeed
from support.fixtures import nothing_leaks  # noqa: F401
from support.threads import in_threads

from secalloc import scope
from secalloc_ext.arraydata import backend_at


def is_secret(thing):
    return backend_at(id(thing)) is not None


def made():
    """Objects of many kinds, fresh; none of which Python keeps heads for, as it does of lists and dicts."""
    count = len(sys.argv)
    return [3.25 * count, 1 << 100 + count, "x" * 50 + str(count), b"y" * 50 + bytes([1]), bytearray(60), {1}, object()]


def live():
    gc.collect()
    gc.collect()  # what callbacks of the collector, as Hypothesis has one, made at a collection within a scope
    return scope.stats().live


# --- where objects lie ---


def test_what_is_made_in_a_scope_lies_on_secret_pages_and_nothing_else():
    before = made()
    with scope():
        inside = made()
    after = made()
    assert [is_secret(each) for each in inside] == [True] * len(inside)
    assert not any(map(is_secret, before + after))


def test_objects_outlive_the_scope_and_are_given_back_when_they_are_dropped():
    with scope():
        kept = None
    before = live()
    with scope():
        kept = [str(i) * 20 for i in range(1000)]
    assert live() - before >= 1000
    assert kept[500] == "500" * 20
    del kept
    assert live() <= before  # what others had there may go meanwhile


def test_another_thread_frees_them_long_after():
    with scope():
        box = [[bytes([i]) * 100 for i in range(200)]]
    before = scope.stats().live
    in_threads(1, lambda i: box.clear())
    assert before - scope.stats().live >= 200


def test_a_buffer_from_before_moves_in_when_it_grows_in_a_scope():
    """A realloc of an ordinary block; the list itself stays where it was, and its content is whole."""
    items, data = list(range(1000)), bytearray(b"z" * 5000)
    with scope():
        items.extend(range(1000, 100_000))
        data += bytes(100_000)
    assert not is_secret(items)
    assert items == list(range(100_000))
    assert data == b"z" * 5000 + bytes(100_000)
    import ctypes

    assert backend_at(ctypes.addressof(ctypes.c_char.from_buffer(data))) is not None
    items.extend(range(10))  # a realloc of a secret block, outside
    data *= 2
    assert backend_at(ctypes.addressof(ctypes.c_char.from_buffer(data))) is not None


def test_numbers_are_not_made_of_what_ordinary_ones_left_nor_the_other_way_round():
    """Python keeps freed numbers for new ones: up to 100 of a type."""
    ordinary = [i + 0.5 for i in range(300)]
    del ordinary
    with scope():
        inside = [i + 0.25 for i in range(300)]
        whole = [(1 << 20) + i for i in range(300)]
    assert all(map(is_secret, inside + whole))
    with scope():
        del inside, whole
    outside = [i + 0.75 for i in range(300)] + [(1 << 21) + i for i in range(300)] + [complex(i, 1) for i in range(300)]
    assert not any(map(is_secret, outside))


def test_a_scope_leaves_nothing_live_behind_it():
    with scope():
        pass
    before = live()
    for _ in range(100):
        with scope():
            _ = [i * 1.5 for i in range(200)], "a" * 1000
        del _
    assert live() <= before  # what others had there may go meanwhile


def test_arrays_are_secret_too_unless_told_otherwise():
    np = pytest.importorskip("numpy")
    import secalloc.numpy as snp

    with scope():
        assert snp.is_secret(np.arange(10.0) * 2)
    with scope(numpy=False):  # some versions of numpy ask Python for the data, but not us
        assert np._core.multiarray.get_handler_name(np.arange(10.0) * 2) != "secalloc"
    with scope(numpy=True):
        assert snp.is_secret(np.arange(10.0) * 2)
    assert not snp.is_secret(np.arange(100_000.0))  # a small one may be of what numpy keeps for reuse


# --- how it is entered and left ---


def test_scopes_nest():
    with scope():
        with scope(stack=False):
            assert is_secret(made()[0])
        assert is_secret(made()[0])
        assert scope.is_active()
    assert not scope.is_active()
    assert not is_secret(made()[0])


def test_a_scope_is_for_one_block_at_a_time():
    block = scope()
    with block:
        with pytest.raises(RuntimeError, match="entered already"):
            block.__enter__()
        with pytest.raises(RuntimeError, match="is entered"):
            block.__init__()
    with block:  # and then for another
        assert scope.is_active()


def test_a_scope_left_in_another_order_or_thread_changes_nothing():
    outer, inner = scope(), scope()
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(RuntimeError, match="another order or thread"):
        outer.__exit__(None, None, None)
    errors = []

    def leave(_):
        try:
            inner.__exit__(None, None, None)
        except RuntimeError as error:
            errors.append(str(error))

    in_threads(1, leave)
    assert len(errors) == 1
    assert scope.is_active()
    inner.__exit__(None, None, None)
    outer.__exit__(None, None, None)
    assert not scope.is_active()
    with pytest.raises(RuntimeError):
        inner.__exit__(None, None, None)


def test_an_exception_leaves_the_scope():
    with pytest.raises(ZeroDivisionError), scope():
        1 / 0  # noqa: B018
    assert not scope.is_active()


def test_a_scope_of_one_thread_is_none_of_another():
    seen = []
    with scope():
        in_threads(1, lambda i: seen.append((scope.is_active(), is_secret(made()[3]))))
    assert seen == [(False, False)]


@pytest.mark.parametrize("wrong", [3, "text", [1]], ids=repr)
def test_what_cannot_be_decorated(wrong):
    with pytest.raises(TypeError, match="a function is needed"):
        scope(wrong)


def test_it_is_no_value():
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(scope())
    with pytest.raises(TypeError):
        scope(stack=True, colour="red")


# --- functions, generators, coroutines ---


@pytest.mark.parametrize("decorate", [scope, scope(), scope(stack=False, numpy=False), scope.wrap], ids=range(4))
def test_a_decorated_function_runs_in_a_scope(decorate):
    @decorate
    def work(a, *, b):
        """What it does."""
        return scope.is_active(), a + b

    assert work(1, b=2) == (True, 3)
    assert not scope.is_active()
    assert (work.__name__, work.__doc__) == ("work", "What it does.")


def test_run_calls_in_a_scope():
    assert scope.run(lambda a, b=0: (scope.is_active(), a, b), 1, b=2) == (True, 1, 2)


def test_a_decorated_generator_is_in_the_scope_at_its_steps_alone():
    @scope
    def steps():
        sent = yield scope.is_active()
        while sent:
            sent = yield (sent, scope.is_active(), is_secret(made()[2]))

    source = steps()
    assert next(source) is True
    assert not scope.is_active()
    assert source.send(5) == (5, True, True)
    with pytest.raises(StopIteration):
        source.send(0)
    assert not scope.is_active()


def test_only_the_task_that_entered_is_covered():
    seen = {}

    @scope
    async def covered():
        for _ in range(3):
            await asyncio.sleep(0)
            seen.setdefault("covered", []).append(is_secret(made()[2]))

    async def other():
        for _ in range(3):
            await asyncio.sleep(0)
            seen.setdefault("other", []).append(is_secret(made()[2]))

    async def main():
        await asyncio.gather(covered(), other(), covered())
        seen["thread"] = await asyncio.to_thread(scope.wrap(lambda: is_secret(made()[2])))

    asyncio.run(main())
    assert seen == {"covered": [True] * 6, "other": [False] * 3, "thread": True}


def test_a_decorated_asynchronous_generator():
    @scope
    async def steps():
        for _ in range(3):
            await asyncio.sleep(0)
            yield is_secret(made()[2])

    async def main():
        return [(each, scope.is_active()) async for each in steps()]

    assert asyncio.run(main()) == [(True, False)] * 3


def test_a_block_around_a_yield_or_an_await_is_refused_where_it_is_entered():
    def generator():
        with scope():
            yield 1

    async def coroutine():
        with scope():
            await asyncio.sleep(0)

    async def loop():
        with scope():
            async for _ in generator_of_its_own():
                pass

    async def generator_of_its_own():
        with scope():
            yield 1

    with pytest.raises(RuntimeError, match="decorate the function"):
        next(generator())
    for each in (coroutine, loop):
        with pytest.raises(RuntimeError, match="decorate the function"):
            asyncio.run(each())
    with pytest.raises(RuntimeError, match="decorate the function"):
        asyncio.run(anext_of(generator_of_its_own()))
    assert not scope.is_active()


async def anext_of(source):
    return await anext(source)


def test_a_block_without_one_is_let_in_also_in_a_generator_or_coroutine():
    def generator():
        yield 1
        with scope():
            a = made()
        yield is_secret(a[0])
        try:
            with scope():
                1 / 0  # noqa: B018
        except ZeroDivisionError:
            yield scope.is_active()

    async def coroutine():
        with scope():
            a = "".join([str(x) for x in range(10)])
        await asyncio.sleep(0)
        return is_secret(a)

    assert list(generator()) == [1, True, False]
    assert asyncio.run(coroutine())


def test_executors_take_wrapped_functions():
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(scope.wrap(lambda i: (i, scope.is_active())), range(4))) == [(i, True) for i in range(4)]
        assert not pool.submit(scope.is_active).result()


# --- what can go wrong ---


def test_tracemalloc_started_first_is_refused_and_started_later_is_not():
    succeed(
        """
        import tracemalloc, secalloc
        tracemalloc.start()
        try:
            with secalloc.scope():
                raise SystemExit("not refused")
        except secalloc.TooLateError as error:
            assert "tracemalloc" in str(error)
        tracemalloc.stop()
        with secalloc.scope():
            kept = [str(i) * 10 for i in range(1000)]
        tracemalloc.start()
        with secalloc.scope():
            more = [str(i) * 10 for i in range(1000)]
        assert tracemalloc.get_traced_memory()[0] > 10_000
        del kept[::2]
        tracemalloc.stop()
        del kept, more
        """
    )


def test_memory_that_is_used_up_is_a_memory_error():
    """And never ordinary memory: as an ordinary user, whose secret pages are limited."""
    succeed(
        """
        from support import hostile
        from secalloc import scope
        hostile.become_ordinary_user()
        hostile.limit("RLIMIT_MEMLOCK", 4 << 20)
        many = range(1_000_000)
        for make in (lambda: bytes(50 << 20), lambda: [object() for _ in many], lambda: {i: str(i) for i in many}):
            try:
                with scope():
                    kept = make()
                raise SystemExit("not refused")
            except MemoryError:
                pass
            with scope():
                assert len([str(i) for i in range(1000)]) == 1000  # all of it was given back
        """
    )


def test_a_forked_child_has_copies_of_its_own():
    succeed(
        """
        import os
        from secalloc import scope
        with scope():
            kept = [str(i) * 10 for i in range(1000)]
            pid = os.fork()
            if pid == 0:
                kept[:] = [each.upper() + "child" for each in kept]
                os._exit(0 if kept[7] == "7777777777child" and scope.is_active() else 1)
            assert os.waitpid(pid, 0)[1] == 0
            assert kept[7] == "7777777777"
        import subprocess, sys
        with scope():
            assert subprocess.run([sys.executable, "-c", "print(5)"], capture_output=True).stdout == b"5\\n"
        """
    )


@pytest.mark.parametrize(
    ("options", "variables"),
    [([], {}), (["-X", "dev"], {}), *(([], {"PYTHONMALLOC": name}) for name in ("malloc", "debug", "malloc_debug"))],
    ids=["", "-X dev", "malloc", "debug", "malloc_debug"],
)  # fmt: skip
def test_under_every_allocator_of_python_and_to_the_end_of_the_process(options, variables):
    """Objects of a scope that is not left, in modules, threads and cycles, are freed when the interpreter ends."""
    import subprocess

    code = """if True:
        import json, sys, threading
        from secalloc import scope
        class Node: pass
        before = list(range(100))
        block = scope()
        block.__enter__()
        import decimal, csv, xml.dom.minidom
        kept = json.loads('{"a": [1.5, "text", 12345678901234567890123]}')
        before.extend(range(1000))
        node = Node(); node.me = node
        sys.kept = [kept, node, decimal.Decimal("1.5") / 7]
        threads = [threading.Thread(target=lambda: sys.kept.append([str(i) for i in range(1000)])) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        block.__exit__(None, None, None)
        with scope():
            sys.exit(7)
    """
    done = subprocess.run([sys.executable, "-P", *options, "-c", code], env=os.environ | variables, cwd="/",
                          capture_output=True, text=True, timeout=50)  # fmt: skip
    assert (done.returncode, done.stderr) == (7, "")


def test_a_subinterpreter_that_runs_in_a_scope():
    name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    succeed(
        f"""
        import {name} as interpreters
        from secalloc import scope
        with scope():
            other = interpreters.create()
            interpreters.run_string(other, "kept = [str(i) for i in range(1000)]; import json; json.dumps(kept)")
        interpreters.run_string(other, "kept.extend(map(str, range(1000)))")
        interpreters.destroy(other)
        with scope():
            assert str(12345)
        """
    )


def test_threads_enter_and_leave_and_free_each_other_s_objects():
    with scope():
        pass
    before = live()
    box = [[] for _ in range(4)]

    def work(i):
        for turn in range(200):
            with scope(stack=False):
                box[i].append((str(turn) * 10, bytes([i]) * 30, {turn, i}))
            if len(box[i - 1]) > 5:
                box[i - 1].pop()

    in_threads(4, work)
    assert scope.stats().live > before
    box.clear()
    assert live() <= before  # what others had there may go meanwhile


def test_a_scope_that_nobody_leaves_ends_with_its_thread():
    with scope():
        pass
    thread = threading.Thread(target=lambda: scope().__enter__())
    thread.start()
    thread.join()
    assert not scope.is_active()
    with scope():
        assert is_secret(made()[0])


def test_it_is_installed_when_told_to_and_once():
    succeed(
        """
        import secalloc, tracemalloc
        assert secalloc.scope.stats() is None
        secalloc.scope.install()
        secalloc.scope.install()
        assert secalloc.scope.stats().live == 0
        tracemalloc.start()
        with secalloc.scope():
            assert secalloc.scope.is_active()
        """
    )


def test_without_secret_memory_it_says_so():
    done = run(
        """
        import errno
        from support import hostile
        hostile.refuse_memfd_secret(errno.ENOSYS)
        import secalloc
        secalloc.configure(backend="secretmem")
        with secalloc.scope():
            print("entered")
        """,
        environment={"SECALLOC_BACKEND": "secretmem"},
    )
    assert "SecretMemoryUnavailable" in done.stderr
    assert done.stdout == ""


# --- blocks that are freed in a scope are kept for its next objects ---

BLOCKS = """
import ctypes
from secalloc import scope
memory = ctypes.pythonapi
memory.PyMem_Malloc.restype, memory.PyMem_Malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
memory.PyMem_Free.restype, memory.PyMem_Free.argtypes = None, [ctypes.c_void_p]
memory.PyMem_Realloc.restype, memory.PyMem_Realloc.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t]
"""


@pytest.mark.parametrize("size", [1, 8, 9, 24, 40, 41, 120, 500, 512, 520, 521, 3000])
def test_a_block_is_zero_as_soon_as_it_is_freed_and_when_it_is_had_again(size):
    succeed(
        BLOCKS + """
import sys
size = int(sys.argv[1])
zeros = bytes(size)
compare = ctypes.CDLL(None).memcmp  # which takes no block of that size itself, as a copy of the bytes would
compare.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
with scope():
    for _ in range(3):
        blocks = [memory.PyMem_Malloc(size) for _ in range(300)]
        assert len(set(blocks)) == 300
        for p in blocks:
            assert compare(p, zeros, size) == 0
            ctypes.memset(p, 0x41, size)
            assert compare(p, zeros, size) != 0
        for p in blocks:
            memory.PyMem_Free(p)
            assert compare(p, zeros, size) == 0
        blocks = [memory.PyMem_Realloc(memory.PyMem_Malloc(size), 2 * size) for _ in range(300)]
        for p in blocks:
            ctypes.memset(p, 0x42, 2 * size)
        for p in blocks:
            memory.PyMem_Free(memory.PyMem_Realloc(p, size))
before = scope.stats().live
with scope():
    pass
assert scope.stats().live <= before
""",
        size,
    )


@pytest.mark.parametrize(
    ("misuse", "phrase"),
    [
        ("p = memory.PyMem_Malloc(50); memory.PyMem_Free(p); memory.PyMem_Free(p)", "double free"),
        ("memory.PyMem_Free(memory.PyMem_Malloc(50) + 16)", "pointer into the middle of an object"),
        ("p = memory.PyMem_Malloc(40); ctypes.memset(p, 65, 42); memory.PyMem_Free(p)", "overflow"),
    ],
)
def test_misuse_in_a_scope_ends_the_process_at_its_end_at_the_latest(misuse, phrase):
    code = BLOCKS + f"with scope():\n    print('ready', flush=True)\n    {misuse}\n"
    done = run(code)
    assert done.stdout == "ready\n"
    assert done.returncode == -signal.SIGABRT
    assert phrase in done.stderr
    assert run(code.replace(misuse, "memory.PyMem_Free(memory.PyMem_Malloc(40))")).returncode == 0


def test_a_block_that_is_left_in_many_ways_and_has_a_yield_behind_it_is_let_in():
    def generator():
        for i in range(3):
            with scope():
                try:
                    a = [1, 2][i]
                except IndexError:
                    return
                if a == 5:
                    continue
            try:
                yield a
            except GeneratorExit:
                with scope():
                    a = 0
                raise

    def inside():
        with scope():
            try:
                a = 1
            finally:
                for i in range(2):
                    if i:
                        yield a

    assert list(generator()) == [1, 2]
    with pytest.raises(RuntimeError, match="decorate the function"):
        list(inside())
