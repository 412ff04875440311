"""Layer 5: `secure_arrays`, numpy's data allocator for a block, a function, the steps of a generator or coroutine."""
import asyncio
import contextvars
import copy
import gc
import inspect
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from support.children import succeed
from support.fixtures import nothing_leaks  # noqa: F401

import secalloc.numpy as snp
from secalloc import Heap


def secret_here(_=None):
    return snp.is_secret(np.zeros(10))


def test_temporaries_and_results_in_the_context_are_secret():
    heap = Heap("context")
    plain = np.arange(1_000.0)
    with snp.secure_arrays(heap):
        a = plain + 1
        b = np.concatenate([a, a])
        c = (a * 2 + b[:1_000]).reshape(10, 100) @ np.ones((100, 3))
        d = copy.deepcopy(a)
        assert heap.stats().committed_peak > heap.stats().live_bytes
    assert all(map(snp.is_secret, (a, b, c, d)))
    assert not snp.is_secret(plain)
    assert not snp.is_secret(a + 1)
    assert heap.stats().live == 4


def test_contexts_nest_and_errors_leave_them():
    outer, inner = Heap("outer"), Heap("inner")
    with snp.secure_arrays(outer):
        with suppress(ZeroDivisionError), snp.secure_arrays(inner):
            first = np.zeros(10)
            _ = 1 / 0
        second = np.zeros(10)
        third = snp.zeros(10)
    assert (inner.stats().live, outer.stats().live) == (1, 1)
    assert snp.is_secret(third)
    assert not snp.is_secret(np.zeros(10))
    del first, second


def test_the_context_is_a_decorator_too():
    @snp.secure_arrays()
    def make():
        return np.zeros(10)

    assert snp.is_secret(make())
    assert snp.is_secret(make())
    assert not snp.is_secret(np.zeros(10))


def test_entering_the_context_a_thousand_times_leaves_nothing_behind():
    heap = Heap("often")
    for _ in range(1_000):
        with snp.secure_arrays(heap):
            np.ones(10).sum()
    assert heap.stats().live == 0


# --- blocks that are not left as they were entered ---


def block(heap=None):
    made = snp.secure_arrays(heap)
    made.__enter__()
    return made


def test_leaving_the_outer_block_first_is_an_error_and_everything_stays_secret():
    outer, inner = block(), block()
    with pytest.raises(RuntimeError, match="another order"):
        outer.__exit__(None, None, None)
    assert secret_here()
    inner.__exit__(None, None, None)
    assert secret_here()
    outer.__exit__(None, None, None)
    assert not secret_here()


def test_leaving_a_block_in_another_thread_is_an_error_and_changes_nothing():
    entered = block()
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(RuntimeError, match="thread"):
            executor.submit(entered.__exit__, None, None, None).result()
        assert not executor.submit(secret_here).result()
    assert secret_here()
    entered.__exit__(None, None, None)
    assert not secret_here()


def test_leaving_a_block_in_another_task_is_an_error_and_changes_nothing():
    async def enter():
        return block(), secret_here()

    async def leave(entered):
        entered.__exit__(None, None, None)

    async def main():
        entered, inside = await asyncio.create_task(enter())
        assert inside
        with pytest.raises(RuntimeError, match="task"):
            await asyncio.create_task(leave(entered))
        return secret_here()

    assert not asyncio.run(main())


def test_an_object_is_for_one_block_at_a_time():
    arrays = snp.secure_arrays()
    with pytest.raises(RuntimeError, match="not entered"):
        arrays.__exit__(None, None, None)
    for _ in range(2):
        with arrays:
            with pytest.raises(RuntimeError, match="entered already"):
                arrays.__enter__()
            with pytest.raises(RuntimeError, match="are entered"):
                arrays.__init__()
            assert secret_here()
        assert not secret_here()


def test_what_is_no_heap_is_refused():
    for heap in ("tls", 5, Heap):
        with pytest.raises(TypeError, match="Heap"):
            snp.secure_arrays(heap)
    with pytest.raises(RuntimeError, match="__init__"):
        snp.secure_arrays.__new__(snp.secure_arrays).__enter__()


# --- functions, generators and coroutines ---


@snp.secure_arrays()
def steps():
    """Answers at each step whether it is in a block, and what it was sent or thrown."""
    got = None
    while got != "end":
        try:
            got = yield secret_here(), got
        except KeyError as error:
            got = str(error)
        except GeneratorExit:
            CLOSED.append(secret_here())
            raise
    return secret_here()


CLOSED = []


def test_a_decorated_generator_is_in_the_block_at_each_step_and_its_caller_is_not():
    generator = steps()
    assert next(generator) == (True, None)
    assert not secret_here()
    assert generator.send("sent") == (True, "sent")
    assert generator.throw(KeyError("thrown")) == (True, "'thrown'")
    assert not secret_here()
    with pytest.raises(StopIteration) as end:
        generator.send("end")
    assert end.value.value is True
    generator = steps()
    next(generator)
    generator.close()
    assert CLOSED.pop()
    assert not secret_here()
    with pytest.raises(ZeroDivisionError):
        steps().throw(ZeroDivisionError)


def test_a_with_block_around_a_yield_lasts_for_the_generator_s_caller():
    """As numpy's own errstate did: documented, and the reason for decorating."""

    def leaky():
        with snp.secure_arrays():
            yield
            yield

    generator = leaky()
    next(generator)
    assert secret_here()
    generator.close()
    assert not secret_here()


def test_a_decorated_coroutine_is_in_the_block_and_whoever_runs_between_its_steps_is_not():
    @snp.secure_arrays()
    async def inside(fail=False):
        before = secret_here()
        await asyncio.sleep(0)
        if fail:
            raise ZeroDivisionError
        return before, secret_here()

    async def main():
        with pytest.raises(ZeroDivisionError):
            await inside(fail=True)
        return await inside(), secret_here()

    assert inspect.iscoroutinefunction(inside)
    assert asyncio.run(main()) == ((True, True), False)
    coroutine = inside()  # driven by hand: nobody gives it a context of its own
    coroutine.send(None)
    assert not secret_here()
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    assert end.value.value == (True, True)


def test_a_cancelled_coroutine_is_in_the_block_to_its_end():
    ended = []

    @snp.secure_arrays()
    async def inside():
        try:
            await asyncio.sleep(1_000)
        finally:
            await asyncio.sleep(0)
            ended.append(secret_here())

    async def main():
        task = asyncio.create_task(inside())
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return task.cancelled()

    assert asyncio.run(main())
    assert ended == [True]


def test_a_decorated_asynchronous_generator_is_in_the_block_at_each_step():
    ended = []

    @snp.secure_arrays()
    async def items():
        got = None
        try:
            while got != "end":
                await asyncio.sleep(0)
                try:
                    got = yield secret_here(), got
                except KeyError:
                    got = "thrown"
        finally:
            await asyncio.sleep(0)
            ended.append(secret_here())

    async def main():
        seen = [await anext(source := items()), await source.asend("sent"), await source.athrow(KeyError())]
        assert not secret_here()
        with pytest.raises(StopAsyncIteration):
            await source.asend("end")
        async for item in items():
            seen.append(item)
            break
        closed = items()
        await anext(closed)
        await closed.aclose()
        assert not secret_here()
        return seen

    assert asyncio.run(main()) == [(True, None), (True, "sent"), (True, "thrown"), (True, None)]
    gc.collect()
    assert ended == [True] * 3


def test_a_decorated_function_keeps_its_name_and_may_be_called_at_the_same_time_and_within_itself():
    barrier = threading.Barrier(2)

    @snp.secure_arrays()
    def deep(depth):
        """Documented."""
        barrier.wait()
        return secret_here() and (depth == 0 or deep(depth - 1)) and secret_here()

    with ThreadPoolExecutor(2) as executor:
        assert list(executor.map(deep, [3, 3])) == [True, True]
    assert (deep.__name__, deep.__doc__) == ("deep", "Documented.")
    assert not secret_here()


# --- threads ---

THREADS = """
    import sys, threading
    from concurrent.futures import ThreadPoolExecutor
    import numpy as np, secalloc.numpy as snp
    def secret_here(_=None):
        return snp.is_secret(np.zeros(10))
    found = []
    with snp.secure_arrays():
        thread = threading.Thread(target=lambda: found.append(secret_here()))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as executor:
            found.append(executor.submit(secret_here).result())
    assert not secret_here()
    print(*found, bool(getattr(sys.flags, "thread_inherit_context", False)))
    """


@pytest.mark.parametrize("inherit", ["0", "1"])
def test_threads_and_executors_inherit_the_block_where_python_lets_them(inherit):
    """From 3.14 on it can be told to; before, it never does."""
    told = succeed(THREADS, environment={"PYTHON_THREAD_INHERIT_CONTEXT": inherit}).split()
    expected = str(inherit == "1" and sys.version_info >= (3, 14))
    assert told == [expected] * 3


def test_a_thread_that_runs_in_a_copy_of_the_context_has_it():
    with snp.secure_arrays():
        context = contextvars.copy_context()
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(context.run, secret_here).result()
    assert not secret_here()


def test_a_wrapped_function_runs_as_where_it_was_wrapped_in_any_thread():
    heap, variable = Heap("wrapped"), contextvars.ContextVar("any other", default=0)
    variable.set(1)
    with snp.secure_arrays(heap):
        secret, other = snp.secure_arrays.wrap(secret_here), snp.secure_arrays.wrap(variable.get)
        make = snp.secure_arrays.wrap(np.zeros)
    plain = snp.secure_arrays.wrap(secret_here)
    with snp.secure_arrays(), ThreadPoolExecutor(2) as executor:
        assert list(executor.map(secret, range(4))) == [True] * 4
        assert list(executor.map(plain, range(4))) == [False] * 4
        assert executor.submit(other).result() == 1
        assert executor.submit(variable.get).result() == int(getattr(sys.flags, "thread_inherit_context", 0) or 0)
        made = executor.submit(make, 10).result()
    assert heap.stats().live == 1
    assert (secret.__name__, made.sum()) == ("secret_here", 0)


def test_many_threads_enter_and_leave_blocks_of_heaps_of_their_own():
    heaps = [Heap(str(i)) for i in range(4)]

    def work(heap):
        for _ in range(200):
            with snp.secure_arrays(heap):
                kept = np.arange(100.0) + 1
                assert heap.stats().live == 1
            del kept
        return heap.stats().live

    with ThreadPoolExecutor(4) as executor:
        assert list(executor.map(work, heaps)) == [0] * 4


def test_tasks_and_to_thread_inherit_the_context_of_their_making():
    async def task():
        await asyncio.sleep(0)
        return secret_here()

    async def main():
        with snp.secure_arrays():
            inside = [asyncio.create_task(task()) for _ in range(3)]
            inside.append(asyncio.create_task(asyncio.to_thread(secret_here)))
        outside = [asyncio.create_task(task()) for _ in range(3)]
        return await asyncio.gather(*inside), await asyncio.gather(*outside)

    assert asyncio.run(main()) == ([True] * 4, [False] * 3)


