"""`secure_arrays`: numpy's data allocator exchanged for a block, a function or the steps of a generator."""
from __future__ import annotations

import contextvars
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from secalloc.stepping import decorated
from secalloc_ext.nep49 import SecureArrays

__all__ = ["secure_arrays"]

P = ParamSpec("P")
R = TypeVar("R")


class secure_arrays(SecureArrays):
    """Put the data of every array made in the block on secret pages, temporaries included.

    Also a decorator, of functions, coroutines and generators: then each call, and each step of a generator or
    coroutine, is a block of its own. Blocks nest; an object is for one block at a time. What numpy, BLAS and LAPACK
    copy into buffers of their own stays in ordinary memory, unless it is scrubbed.

    Parameters
    ----------
    heap : where the data goes; None: the default heap
    scrub : whether what C libraries leave behind in the block is wiped at its end: memory that they free, OpenBLAS's
        buffers, the thread's stack. `scrubs` says, once entered, which of "malloc", "blas" and "stack" it is here.
        While such a block is open, OpenBLAS computes in the calling threads alone, in the whole process

    Raises
    ------
    RuntimeError : it is left in another order, thread or task than it was entered in. The allocator then stays the
        one that is in effect there.

    Notes
    -----
    The allocator belongs to the context (contextvars) that entered the block. asyncio tasks made inside and
    ``asyncio.to_thread`` inherit it. A `threading.Thread` or an executor's worker does not, except under Python 3.14
    and newer with ``-X thread_inherit_context=1``: give it a function that is decorated, or `secure_arrays.wrap`.

    A ``with`` block around a ``yield`` stays in effect for the generator's caller between the steps; decorate the
    generator function instead.
    """

    __slots__ = ()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        heap, scrub = self.heap, self.scrub
        return decorated(lambda: secure_arrays(heap, scrub=scrub), function)

    @staticmethod
    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        """`function`, to be called from any thread as if from here: in a copy of the context of this moment.

        The other context variables are those of this moment as well; from numpy 2.0 on ``numpy.errstate`` is one.
        """
        context = contextvars.copy_context()

        @wraps(function)
        def run(*arguments: P.args, **named: P.kwargs) -> R:
            # A copy again: a context is in use by one thread at a time.
            return context.copy().run(function, *arguments, **named)

        return run
