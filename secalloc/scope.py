"""`secalloc.scope`: what Python itself allocates, on secret pages for a block, a function or a generator's steps."""
from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from secalloc.stepping import decorated
from secalloc_ext import pep445
from secalloc_ext.pep445 import Scope

if TYPE_CHECKING:
    from secalloc_ext.heapobject import HeapStats

__all__ = ["scope"]

P = ParamSpec("P")
R = TypeVar("R")
STEPPING = 0x20 | 0x80 | 0x200  # flags of a code object: a generator, a coroutine, an asynchronous generator


_known: dict[tuple[CodeType, int], bool] = {}


def _gives_up_control(code: CodeType, at: int) -> bool:
    """Whether the body of the `with` statement that is being entered at this instruction has a `yield` or an `await`.

    In the body is what has the statement's own handler for exceptions, or one that is in the body itself: see the
    exception table of the code object.
    """
    answer = _known.get((code, at))
    if answer is not None:
        return answer
    import dis

    entries: list[Any] = getattr(dis.Bytecode(code), "exception_entries")  # noqa: B009  typeshed has it not
    body = min((entry for entry in entries if entry.start > at), key=lambda entry: int(entry.start), default=None)

    def is_inside(offset: int) -> bool:
        for _ in entries:  # from handler to handler, outwards
            handler = next((entry.target for entry in entries if entry.start <= offset < entry.end), None)
            if handler is None or body is None or handler == body.target:
                return handler is not None and body is not None
            offset = handler
        return False

    answer = any(each.opname == "YIELD_VALUE" and is_inside(each.offset) for each in dis.get_instructions(code))
    _known[code, at] = answer
    return answer


class scope(Scope):
    """Put what Python allocates in the block, in this thread, on secret pages: objects, their buffers, array data.

    This reduces leaks, and does not end them: what a C library allocates for itself, what was there before the block,
    and what other threads do is as it was. `docs/SCOPE.md` has what was measured of each operation.

    Also a decorator, of functions, coroutines and generators: then each call, and each step of a generator or
    coroutine, is a block of its own. Objects outlive the block, and are wiped when they are freed, by whichever
    thread. Blocks nest.

    Parameters
    ----------
    numpy : whether the data of arrays is on secret pages too; None: if numpy is imported when the block is entered
    stack : whether what the block's calls left on the thread's stack is wiped at its end, which takes some microseconds

    Raises
    ------
    NotImplementedError : the interpreter is free-threaded: its objects can be in no other memory than its own
    TooLateError : tracemalloc was started before the first scope
    SecretMemoryUnavailable, MemlockLimitError : there is no secret memory
    RuntimeError : a ``with`` block of a generator or a coroutine has a ``yield`` or an ``await`` in it: it would stay
        in effect for whoever runs meanwhile. Decorate the function. Also: a block is left in another order, or
        thread, than it was entered in; or another allocator has been put before secalloc's

    Notes
    -----
    Memory of a scope that is used up is a MemoryError, never ordinary memory. A forked child has copies of its own.
    """

    __slots__ = ("_numpy",)

    @overload
    def __new__(cls, function: Callable[P, R], /) -> Callable[P, R]: ...  # type: ignore[misc]
    @overload
    def __new__(cls, *, numpy: bool | None = None, stack: bool = True) -> scope: ...
    def __new__(cls, *given: Any, **named: Any) -> Any:
        if len(given) != 1:
            return super().__new__(cls)  # what __init__ does not take, it refuses
        function = given[0]
        if not callable(function):
            raise TypeError(f"a function is needed to decorate, not {type(function).__name__}")
        return decorated(cls, cast("Callable[..., Any]", function))

    def __init__(  # pyright: ignore[reportInconsistentConstructor]
        self, *, numpy: bool | None = None, stack: bool = True
    ) -> None:
        super().__init__(stack=stack)
        self._numpy = numpy

    def __enter__(self) -> None:
        frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        if frame.f_code.co_flags & STEPPING and _gives_up_control(frame.f_code, frame.f_lasti):
            raise RuntimeError(
                "a scope around a yield or an await would stay in effect for whoever runs meanwhile: "
                "decorate the function"
            )
        super().__enter__()
        if self._numpy or (self._numpy is None and "numpy" in sys.modules):
            from secalloc_ext.nep49 import SecureArrays

            self.arrays = SecureArrays(pep445.heap())
            self.arrays.__enter__()

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        numpy, stack = self._numpy, self.stack
        return decorated(lambda: scope(numpy=numpy, stack=stack), function)

    @classmethod
    def wrap(cls, function: Callable[P, R], /) -> Callable[P, R]:
        """`function`, which runs in a scope whichever thread calls it: for executors, ``asyncio.to_thread``."""
        return decorated(cls, function)

    @classmethod
    def run(cls, function: Callable[P, R], /, *arguments: P.args, **named: P.kwargs) -> R:
        """What `function` answers, called in a scope."""
        with cls():
            return function(*arguments, **named)

    @staticmethod
    def install() -> None:
        """Put the hooks in place now rather than at the first scope: before tracemalloc, say. They stay."""
        pep445.install()

    @staticmethod
    def is_active() -> bool:
        """Whether the calling thread is in a scope."""
        return pep445.is_active()

    @staticmethod
    def stats() -> HeapStats | None:
        """Of the heap that all scopes share; None before the first."""
        heap = pep445.heap()
        return None if heap is None else heap.stats()
