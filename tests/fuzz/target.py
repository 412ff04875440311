"""A target's module, made ready to be run on inputs.

A module has `check`, which is either decorated with hypothesis's `given`, or takes the input itself; that it is `raw`.
It may have `HEAPS`, in which nothing may be left after an example (else the default heap), and `TOKENS`, words for raw
inputs. What it does once at the start, it does when it is imported.
"""
import gc
import importlib
import signal

from hypothesis import HealthCheck, Phase, settings
from hypothesis.database import InMemoryExampleDatabase

from fuzz import behaviour
from secalloc_ext.heapobject import DEFAULT

# As they take turns in a run; each is a module of `targets/`.
NAMES = (
    "constructors", "methods", "revealed", "heaps", "capi", "arrays", "npyfiles", "scoped", "settings", "tlskeys",
    "commands", "kdfs",
)  # fmt: skip


def module_of(name):
    """`controls.x` are the positive controls of `test_fuzz.py`."""
    return importlib.import_module(f"fuzz.{name}" if name.startswith("controls.") else f"fuzz.targets.{name}")


class Target:
    """`seconds`: what takes longer ends the process by SIGALRM, whose handler is the kernel's: it works in C, too."""

    def __init__(self, name, seconds):
        module = module_of(name)
        self.name, self.seconds = name, seconds
        self.heaps = getattr(module, "HEAPS", (DEFAULT,))
        self.tokens = getattr(module, "TOKENS", ())
        self.raw = not hasattr(module.check, "hypothesis")
        if self.raw:
            self.run_one = self.watched(module.check)
            return
        check = module.check.hypothesis
        check.inner_test = self.watched(check.inner_test)
        # Where hypothesis keeps a failure, to make it smaller when it runs the test as any other.
        self.failures = InMemoryExampleDatabase()
        self.test = settings(
            database=self.failures, deadline=None, report_multiple_bugs=False, phases=[Phase.reuse, Phase.shrink],
            suppress_health_check=list(HealthCheck))(module.check)  # fmt: skip
        self.run_one = self.test.hypothesis.fuzz_one_input

    def run(self, data):
        """Make one example; answers the part of the input that was used, None if it was not a valid one."""
        behaviour.forget()
        used = self.run_one(data)
        return data if self.raw else used

    def watched(self, check):
        """`check`, for a limited time; all heaps are afterwards as they were before."""

        def run(*arguments, **named):
            before = self.balance()
            signal.setitimer(signal.ITIMER_REAL, self.seconds)
            try:
                check(*arguments, **named)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            if self.balance() != before:
                gc.collect()
                assert self.balance() == before, "something is left in a heap"
            assert all(heap.is_valid() for heap in self.heaps), "a heap is not valid"

        return run

    def balance(self):
        """Live objects and their bytes, by heap."""
        return [(stats.live, stats.live_bytes) for stats in (heap.stats() for heap in self.heaps)]

    def smallest_failure(self):
        """What hypothesis makes of the failures it saw: an error, with the arguments among its notes; or None."""
        if self.raw or not self.failures.data:
            return None
        try:
            self.test()
        except Exception as error:
            return error
        finally:
            self.failures.data.clear()
        return None
