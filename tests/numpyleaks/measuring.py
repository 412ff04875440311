"""One operation in a process of its own, and what is found of its arrays from outside, while they live and afterwards."""
import ast
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from numpyleaks import operations
from secalloc.scan import fragments
from secalloc_ext.windows import Windows

TESTS = Path(__file__).resolve().parent.parent
MODES = ("ordinary", "handler", "scrub", "scope", "both")
MOMENTS = ("live", "after")
TEXT_BYTES, NUMBERS_BYTES = 16, 32  # of text, and of small numbers, that nothing else is likely to have


def forms_of(name, value):
    """What is looked for of a value: names, bytes, the width of a window, and the step between two."""
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        return [(name, data, TEXT_BYTES, 1)] if len(data) >= TEXT_BYTES else []
    if value is None:
        return []
    if isinstance(value, tuple | list) and not isinstance(value[0], float):
        return [form for i, each in enumerate(value) for form in forms_of(f"{name} {i}", each)]
    array = np.asarray(value)
    if array.dtype.kind == "b":
        return []
    item = array.dtype.itemsize
    # A real number's bits are its own; an index or a count is not.
    width = max(8, min(item, 8)) if array.dtype.kind in "fc" or array.dtype == "u1" else NUMBERS_BYTES
    if array.dtype.kind == "i" and np.abs(array.astype("f8")).max(initial=0) > 2.0**40:
        width = 8
    if array.dtype.kind == "S":
        width, item = TEXT_BYTES, 1
    data = array.tobytes()
    try:
        Windows([data], width, min(item, 8))
    except ValueError:  # sorted bytes, or two numbers
        return []
    return [(name, data, width, min(item, 8))]


def forms(operation, arrays):
    """Everything to look for: the arrays that the operation names, its answer, and what is computed on the way."""
    names = vars(operations) | arrays
    used = {node.id for node in ast.walk(ast.parse(operation.code)) if isinstance(node, ast.Name)}
    found = [form for name in arrays if name in used for form in forms_of("input", arrays[name])]
    found += forms_of("result", eval(operation.code, names))
    for expression in operation.between:
        found += forms_of("between", eval(expression, names))
    return found


def told(fd, shapes):
    """The child's arrays, by name."""
    def read(size):
        data = b""
        while len(data) < size:
            part = os.read(fd, size - len(data))
            if not part:
                raise RuntimeError("the child ended early")
            data += part
        return np.frombuffer(data, "u1")

    return {
        name: np.array(read(like.nbytes) ^ read(like.nbytes)).view(like.dtype).reshape(like.shape)
        for name, like in shapes.items()
    }


def looked_through(pid, wanted, each):
    """Places by the kind of form: "heap", "stack", a file's name, or "mapped". What is part of two forms is found as the
    first, or as both if `each` is looked for by itself."""
    found = defaultdict(set)
    groups = defaultdict(dict)
    for i, (name, data, width, step) in enumerate(wanted):
        groups[width, step, i if each else 0][f"{name} {i}"] = data
    for (width, step, _), secrets in groups.items():
        for hit in fragments(pid, secrets, width, step):
            found[hit.needle.split()[0]].add(os.path.basename(hit.area).strip("[]") or "mapped")
    return {name: sorted(places) for name, places in found.items()}


def measured(name, mode):
    """What is found, by moment and kind of form."""
    operation = operations.OPERATIONS[name]
    ready, telling = os.pipe()
    waiting, go = os.pipe()
    environment = os.environ | {"PYTHONPATH": str(TESTS), "SECALLOC_BACKEND": "secretmem", "LD_BIND_NOW": "1"}
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "numpyleaks.child", name, mode, str(telling), str(waiting)],
        env=environment, cwd="/", pass_fds=(telling, waiting), stdin=subprocess.DEVNULL,
    ) as child:  # fmt: skip
        os.close(telling)
        os.close(waiting)
        try:
            arrays = told(ready, operations.inputs(None))
            wanted = forms(operation, arrays)
            result = {}
            for moment in MOMENTS:
                if os.read(ready, 1) != b".":
                    raise RuntimeError(f"{name}, {mode}: the child ended early")
                result[moment] = looked_through(child.pid, wanted, each=mode == "ordinary")
                os.write(go, b".")
        finally:
            os.close(ready)
            os.close(go)
    if child.returncode:
        raise RuntimeError(f"{name}, {mode}: the child ended with {child.returncode}")
    if mode == "ordinary":
        blind = {form[0].split()[0] for form in wanted if form[0].split()[0] != "between"} - set(result["live"])
        if blind:
            raise RuntimeError(f"{name}: {', '.join(blind)} is kept in ordinary memory, and not found")
    return result
