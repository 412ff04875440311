"""NumPy arrays whose data lies on secret pages (NEP 49).

    >>> import secalloc.numpy as snp
    >>> weights = snp.zeros((1000, 128))
    >>> with snp.secure_arrays():            # temporaries too
    ...     scores = weights @ weights.T

Functions with names of numpy's have numpy's arguments, and `heap` (None: the default heap); some have `guarded`. Data
is aligned to 64 bytes and wiped when the last array that uses it goes. Arrays of Python objects and of `StringDType`
are refused: what they hold is in ordinary memory.

`guarded=True` puts the data on pages of its own: its last byte is the last before a page that nobody may touch, so that
an overrun in C code is a fault at once. It is aligned as far as its size allows. `owner` has its protections.

An array is pickled, and sent to other processes by multiprocessing, as an ordinary copy: numpy leaves nothing to hook
into. What is unpickled is a view of the pickle's own bytes, in a block of `secure_arrays` too. By way of protocol 5,
``pickle.dumps(a, 5, buffer_callback=...)``, no copy is made, but the secret pages themselves are handed out.

Registers are not secret pages. What numpy copied last stands in those of the processor, and where a program binds its
libraries' functions lazily, the first call of one saves them on the stack; ``LD_BIND_NOW=1`` in the environment avoids
it.

Thread safety: as numpy's own functions; of `secure_arrays` see there.
"""
from __future__ import annotations

from secalloc.arraycontext import secure_arrays
from secalloc.arrayfiles import fromfile, load, save
from secalloc.arrays import (
    arange,
    array,
    asarray,
    backend,
    copy,
    empty,
    empty_like,
    frombuffer,
    full,
    full_like,
    generator,
    is_secret,
    ones,
    ones_like,
    owner,
    random,
    wipe,
    zeros,
    zeros_like,
)

__all__ = [
    "arange", "array", "asarray", "backend", "copy", "empty", "empty_like", "frombuffer", "fromfile", "full",
    "full_like", "generator", "is_secret", "load", "ones", "ones_like", "owner", "random", "save", "secure_arrays",
    "wipe", "zeros", "zeros_like",
]  # fmt: skip
