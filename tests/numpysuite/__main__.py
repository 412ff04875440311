"""NumPy's own tests, with every array's data on secret pages: `python tests/numpysuite [--whole]`.

Runs them twice, each time in a process of its own: as they are, and with our data allocator set before the first test.
Prints what each came to, and exits with 0 if no test failed, twice, that did not with numpy's own allocator.

The quick half is the modules that have to do with memory; --whole is all of core, lib, linalg and fft.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

QUICK = ("_core/tests/test_multiarray.py", "_core/tests/test_mem_policy.py", "_core/tests/test_indexing.py",
         "_core/tests/test_nditer.py", "_core/tests/test_casting_floatingpoint_errors.py",
         "linalg/tests/test_linalg.py", "fft/tests")  # fmt: skip
WHOLE = ("_core/tests", "lib/tests", "linalg/tests", "fft/tests")
# Not more than this for a test that asks how much there is: some want tens of gigabytes, in any allocator's pages.
MEMORY = "1GB"
OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "no:benchmark", "-c", os.devnull, "-rfE", "-W",
           "ignore::pytest.PytestRemovedIn10Warning")  # fmt: skip


def run(modules: tuple[str, ...], *, secret: bool) -> tuple[str, set[str]]:
    """pytest's closing line, and the names of the tests that failed."""
    folder = Path(np.__file__).parent
    plugin = ("-p", "plugin") if secret else ()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where meson is
    files = [folder / module for module in modules]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", *OPTIONS, *plugin, f"--rootdir={folder}", *files],
        env=os.environ | {"NPY_AVAILABLE_MEM": MEMORY, "PYTHONPATH": str(Path(__file__).parent), "PATH": path},
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        sys.exit(f"numpy's tests did not run: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout.strip().rpartition("\n")[2], set(re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M))


def main(modules: tuple[str, ...]) -> int:
    plain, failed = run(modules, secret=False)
    print(f"numpy {np.__version__}, its own allocator: {plain}", flush=True)
    secret, failed_secret = run(modules, secret=True)
    print(f"numpy {np.__version__}, secret pages: {secret}")
    for name in sorted(failed ^ failed_secret):
        print("fails with secret pages only:" if name in failed_secret else "fails with its own allocator only:", name)
    return 1 if again(failed_secret - failed) else 0


def again(names: set[str]) -> set[str]:
    """Those that fail a second time with secret pages, in a run of their files alone."""
    files = tuple(sorted({"/" + name.partition("::")[0] for name in names}))  # they are told as seen from there
    return names & run(files, secret=True)[1] if files else set()


if __name__ == "__main__":
    sys.exit(main(WHOLE if "--whole" in sys.argv[1:] else QUICK))
