"""Work in a forked child."""
import ctypes
import os
import signal
import sys
import warnings

import secalloc

SYS_CLONE = 56
REMARKS = {0: "isolated", 1: "copied", 2: "isolated, no memory", 3: "copied, no memory"}


def raises(error, call, *arguments):
    try:
        call(*arguments)
    except error:
        return
    raise AssertionError(f"{call} did not raise {error}")


def clone():
    """A fork by clone(2), which runs no handlers; as os.fork."""
    return ctypes.CDLL(None).syscall(SYS_CLONE, signal.SIGCHLD, None, None, None, None)


def cloned(work, by=0):
    """As `forked`, by a clone(2)."""
    forked(work, by, clone)


def forked(work, by=0, fork=os.fork):
    """Run `work` in a child; the child must come to its end, or die by the signal `by`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads, which is what is tested
        pid = fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == by, f"the child ended with {status}"


class ChildDied(Exception):
    """A forked child did not end by itself."""


def what_it_has(usable, make):
    """Of a child, as in REMARKS: whether what its parent had is usable, and whether it can make its own."""
    try:
        code = usable() or 9
    except secalloc.ForkedError:
        code = 0
    try:
        make()
    except secalloc.SecallocError:
        code += 2
    return code


def exit_code(look):
    """Of a child, which is what `look` answers there; 9 if it raises."""
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            code = look()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def remark(status):
    if status not in REMARKS:
        raise ChildDied(status)
    return REMARKS[status]
