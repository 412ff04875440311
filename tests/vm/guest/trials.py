"""Something tried in a child of its own, and what came of it: what it answered, or the signal it died of."""
from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable

__all__ = ["outcome"]

ANSWER_BYTES = 4096


def outcome(trial: Callable[[], str]) -> str:
    """A fork, as a new interpreter takes seconds in the emulator.

    Raises
    ------
    RuntimeError : the trial itself broke; its traceback is on the console
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, trial().encode())
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    os.close(writer)
    answer = os.read(reader, ANSWER_BYTES).decode()
    os.close(reader)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code > 0:
        raise RuntimeError(f"a trial broke: {trial}")
    return signal.Signals(-code).name if code else answer
