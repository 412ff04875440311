"""Work in a forked child."""
import os
import sys
import warnings


def forked(work, by=0):
    """Run `work` in a child; the child must come to its end, or die by the signal `by`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads, which is what is tested
        pid = os.fork()
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
