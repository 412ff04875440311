"""The process that does one operation on secrets and is then looked through, run as a program.

Arguments: the subject's module, the operation, the mode, and two descriptors: where it tells, and where it waits. It
tells its inputs, coded, then one byte when the operation is done, and one when everything of it is dropped.
"""
import gc
import importlib
import os
import sys

from secalloc import Heap
from secalloc_ext.residue import wipe_stack


def tell(fd, subject, inputs, heap):
    """Each input as so many random bytes and its own exclusive-ored with them; all of it on secret pages."""
    for data in inputs.values():
        for part in subject.coded(data, heap):
            view = memoryview(part)
            while view:
                view = view[os.write(fd, view) :]


def main(module, name, mode, told, go):
    subject = importlib.import_module(module)
    heap = Heap("leaks", backend="secretmem")
    code = compile(subject.OPERATIONS[name].code, "operation", "eval")

    def do(inputs):
        with subject.BLOCKS[mode](heap):
            return eval(code, subject.names(subject.OPERATIONS[name], inputs))

    if subject.WARM:
        do(subject.inputs(heap))
    inputs = subject.inputs(heap)
    tell(told, subject, inputs, heap)
    if mode == next(iter(subject.BLOCKS)):
        inputs = subject.ordinary(inputs)
    wipe_stack()
    result = do(inputs)
    for _ in range(2):
        os.write(told, b".")
        os.read(go, 1)
        result = None  # noqa: F841
        inputs.clear()
        gc.collect()


if __name__ == "__main__":
    module, name, mode, *fds = sys.argv[1:]
    main(module, name, mode, *map(int, fds))
