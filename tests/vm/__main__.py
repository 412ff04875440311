"""Debian's kernels, booted in an emulator, look through their own memory: `python tests/vm [--all | --kernel NAME]`.

Prints a table of what was found, and exits with 0 if all is as it must be (`vm.expectations`). One kernel takes some
four minutes; --write keeps the result in report.json, from which the document's table is made. Needs
qemu-system-x86, busybox-static, binutils, the openssl program and a compiler; `.ci/vm` installs them.
"""
import argparse
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vm import command, expectations, machine, report
from vm.image import Missing
from vm.kernels import KERNELS

DEFAULT = "6.12"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/vm", description=__doc__.partition("\n")[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="every kernel")
    which.add_argument("--kernel", choices=KERNELS, default=DEFAULT, help=f"one kernel; without: {DEFAULT}")
    parser.add_argument("--write", action="store_true", help=f"keep the result in {command.REPORT.name}")
    parser.add_argument("--refresh", action="store_true", help="look whether Debian has newer kernels")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the emulator ends first
    try:
        measured = command.run(list(KERNELS) if options.all else [options.kernel], refresh=options.refresh)
    except (Missing, machine.BootFailed) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(report.markdown(measured))
    failures = expectations.unmet(measured)
    for failure in failures:
        print("not as it must be:", failure)
    if options.write:
        command.write(measured)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
