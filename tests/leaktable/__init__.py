"""What operations leave of secrets in ordinary memory: a process for each of them, looked through from outside.

A *subject* is a module that says what is done and to what: `numpyleaks.operations`, `scopeleaks.operations`. It has

- ``OPERATIONS``: by its code, an expression, each `Operation`;
- ``BLOCKS``: by mode, a function of a heap that answers a new context manager, in which the operation is done. The
  first is the control: nothing is secret in it, and all must be found;
- ``TITLES``: by mode, what the document calls it;
- ``inputs(heap)``: fresh secrets on secret pages, by name; with None on those of the default heap;
- ``coded(data, heap)``: two buffers on secret pages, random bytes and the data exclusive-ored with them;
- ``ordinary(inputs)``: copies in ordinary memory, for the control;
- ``names(operation, inputs)``: what its code uses, made inside the block;
- ``rebuilt(name, data)``: an input of that name from its bytes;
- ``forms(operation, inputs)``: what is looked for: (kind, bytes, width of a window, step);
- ``FOLDER``, ``DOCS``: where it keeps what was measured, and the document;
- ``WARM``: whether each operation is done once before, with other secrets.
"""
from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    """`code`: an expression. `why`: what keeps a copy, where one is left. `between`: expressions for what it is known
    to compute on the way, which is looked for as well."""

    group: str
    code: str
    why: str = ""
    between: tuple[str, ...] = ()
