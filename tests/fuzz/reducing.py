"""Smaller inputs that end the process as a found one did; each is tried in a forked child of a fresh process."""
import os
import signal
import time

from fuzz.mutation import smaller

TRIES = 500
SECONDS_MAX = 20


def status_of(target, data):
    """What a child that runs the input ends with; an ordinary exception is no death."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            target.run(data)
            status = 0
        except Exception:
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def reduced(target, data, status):
    """The smallest input found; `data` itself where a child does not die of it, or where each try takes its time."""
    end = time.monotonic() + SECONDS_MAX
    if status == -signal.SIGALRM:
        return data
    return smaller(data, lambda other: time.monotonic() < end and status_of(target, other) == status, TRIES)
