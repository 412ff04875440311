"""A block that a function's body runs in, however often the function gives up control in between.

A generator or a coroutine that is suspended inside a block leaves it open for whoever runs meanwhile. What is decorated
here enters the block anew at each step, and leaves it at the end of the step.
"""
from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

__all__ = ["decorated"]

P = ParamSpec("P")
R = TypeVar("R")
Block = Callable[[], AbstractContextManager[None]]  # a new one each time


def _steps(block: Block, source: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """`source`, whose every step is in a block. Also of coroutines, and of what steps an asynchronous generator."""
    step: Callable[[Any], Any] = source.send
    value: Any = None
    while True:
        with block():
            try:
                item = step(value)
            except StopIteration as end:
                return end.value
        try:
            value = yield item
            step = source.send
        except GeneratorExit:
            with block():
                source.close()
            raise
        except BaseException as error:
            value, step = error, source.throw


class _Awaited:
    """An awaitable, each step in a block."""

    def __init__(self, block: Block, source: Awaitable[Any]) -> None:
        self.block, self.source = block, source

    def __await__(self) -> Generator[Any, Any, Any]:
        return _steps(self.block, cast("Generator[Any, Any, Any]", self.source))


def decorated(block: Block, function: Callable[P, R]) -> Callable[P, R]:
    """`function`, whose body runs in a block: a generator's or a coroutine's at each of its steps."""
    import inspect

    if inspect.isasyncgenfunction(function):
        @wraps(function)
        async def run_async_generator(*arguments: P.args, **named: P.kwargs) -> AsyncGenerator[Any, Any]:
            source: AsyncGenerator[Any, Any] = function(*arguments, **named)
            step: Awaitable[Any] = source.asend(None)
            try:
                while True:
                    try:
                        item = await _Awaited(block, step)
                    except StopAsyncIteration:
                        return
                    try:
                        step = source.asend((yield item))
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step = source.athrow(error)
            finally:
                await _Awaited(block, source.aclose())

        return cast("Callable[P, R]", run_async_generator)

    if inspect.iscoroutinefunction(function):
        @wraps(function)
        async def run_coroutine(*arguments: P.args, **named: P.kwargs) -> Any:
            return await _Awaited(block, function(*arguments, **named))

        return cast("Callable[P, R]", run_coroutine)

    if inspect.isgeneratorfunction(function):
        @wraps(function)
        def run_generator(*arguments: P.args, **named: P.kwargs) -> Generator[Any, Any, Any]:
            return (yield from _steps(block, function(*arguments, **named)))

        return cast("Callable[P, R]", run_generator)

    @wraps(function)
    def run(*arguments: P.args, **named: P.kwargs) -> R:
        with block():
            return function(*arguments, **named)

    return run
