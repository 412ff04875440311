"""Threads that are gone when the call returns."""
import os
import threading
import time


def in_threads(count, work):
    """Run `work(i)` in `count` threads at once, and raise what one of them raised.

    Waits for the kernel's threads, not just for Python's: `join` of Python before 3.13 returns while a thread still has
    to run its destructors, and with them secalloc's.
    """
    tasks = []
    errors = []

    def guarded(i):
        tasks.append(str(threading.get_native_id()))
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[i]) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while not set(tasks).isdisjoint(os.listdir("/proc/self/task")):
        time.sleep(0.001)
    try:
        for error in errors:
            raise error
    finally:
        errors.clear()  # else the error, its traceback and this frame keep each other, and what the work held
        error = None
