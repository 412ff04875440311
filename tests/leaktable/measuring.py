"""One operation in a process of its own, and what is found of its secrets from outside, while they live and
afterwards."""
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from secalloc.scan import Wanted, fragments

TESTS = Path(__file__).resolve().parent.parent
MOMENTS = ("live", "after")


def told(fd, subject):
    """The child's inputs, by name."""

    def read(size):
        data = b""
        while len(data) < size:
            part = os.read(fd, size - len(data))
            if not part:
                raise RuntimeError("the child ended early")
            data += part
        return int.from_bytes(data, "big")

    found = {}
    for name, like in subject.inputs(None).items():
        size = memoryview(like).nbytes
        found[name] = subject.rebuilt(name, (read(size) ^ read(size)).to_bytes(size, "big"))
    return found


def looked_through(pid, wanted, apart):
    """Places by the kind of form: "heap", "stack", a file's name, or "mapped". What is part of two forms is found as
    the first; with `apart`, the kinds are looked for one by one."""
    found = defaultdict(set)
    groups = defaultdict(list)
    for kind, *form in wanted:
        groups[kind if apart else ""].append(Wanted(kind, *form))
    for group in groups.values():
        for hit in fragments(pid, group):
            found[hit.needle].add(os.path.basename(hit.area).strip("[]") or "mapped")
    return {kind: sorted(places) for kind, places in found.items()}


def measured(subject, name, mode):
    """What is found, by moment and kind of form."""
    is_control = mode == next(iter(subject.BLOCKS))
    ready, telling = os.pipe()
    waiting, go = os.pipe()
    # Libraries' functions are bound at the start: later, the first call of one saves all registers on the stack.
    environment = os.environ | {"PYTHONPATH": str(TESTS), "SECALLOC_BACKEND": "secretmem", "LD_BIND_NOW": "1"}
    arguments = subject.__name__, name, mode, str(telling), str(waiting)
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "leaktable.child", *arguments],
        env=environment, cwd="/", pass_fds=(telling, waiting), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    ) as child:  # fmt: skip
        os.close(telling)
        os.close(waiting)
        try:
            wanted = subject.forms(subject.OPERATIONS[name], told(ready, subject))
            result = {}
            for moment in MOMENTS:
                if os.read(ready, 1) != b".":
                    raise RuntimeError(f"{name}, {mode}: the child ended early")
                result[moment] = looked_through(child.pid, wanted, apart=is_control)
                os.write(go, b".")
        finally:
            os.close(ready)
            os.close(go)
    if child.returncode:
        raise RuntimeError(f"{name}, {mode}: the child ended with {child.returncode}")
    if is_control:
        blind = subject.kept(subject.OPERATIONS[name], wanted) - set(result["live"])
        if blind:
            raise RuntimeError(f"{name}: {', '.join(blind)} is kept in ordinary memory, and not found")
    return result
