"""The process that does one operation on secret arrays and is then looked through, run as a program.

Arguments: the operation, the mode, and two descriptors: where it tells, and where it waits. It tells its arrays, coded,
and then one byte when the operation is done, and one when everything of it is dropped.
"""
import contextlib
import gc
import os
import sys

import numpy as np

import secalloc.numpy as snp
from numpyleaks import operations
from secalloc import Heap
from secalloc.numpy import secure_arrays
from secalloc.scope import scope
from secalloc_ext.residue import wipe_stack


class both(contextlib.ExitStack):
    """Two blocks at once."""

    def __init__(self, *blocks):
        super().__init__()
        self.blocks = blocks

    def __enter__(self):
        for block in self.blocks:
            self.enter_context(block)


BLOCKS = {
    "ordinary": lambda heap: contextlib.nullcontext(),
    "handler": secure_arrays,
    "scrub": lambda heap: secure_arrays(heap, scrub=True),
    "scope": lambda heap: scope(),
    "both": lambda heap: both(secure_arrays(heap, scrub=True), scope()),
}


def tell(fd, names, heap):
    """The arrays, each as so many random bytes and its own exclusive-ored with them; all of it on secret pages."""
    for array in names.values():
        data = array.reshape(-1).view("u1")
        pad = snp.random(data.size, "u1", heap=heap)
        coded = snp.empty(data.size, "u1", heap=heap)
        np.bitwise_xor(data, pad, out=coded)
        for part in (pad, coded):
            view = memoryview(part)
            while view:
                view = view[os.write(fd, view) :]


def main(name, mode, told, go):
    heap = Heap("leaks", backend="secretmem")
    code = compile(operations.OPERATIONS[name].code, "operation", "eval")

    def do(arrays):
        with BLOCKS[mode](heap):
            return eval(code, vars(operations) | arrays)

    do(operations.inputs(heap))  # with other values: what is loaded and kept at a first call
    arrays = operations.inputs(heap)
    tell(told, arrays, heap)
    if mode == "ordinary":
        arrays = {each: np.array(array) for each, array in arrays.items()}
    wipe_stack()
    result = do(arrays)  # noqa: F841
    for _ in range(2):
        os.write(told, b".")
        os.read(go, 1)
        result = None
        arrays.clear()
        gc.collect()


if __name__ == "__main__":
    name, mode, *fds = sys.argv[1:]
    main(name, mode, *map(int, fds))
