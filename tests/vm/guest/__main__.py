"""Started by the initramfs: the steps of the boot that the kernel's command line names, one after the other."""
from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from vm.guest import memory
from vm.guest.holding import Holder
from vm.guest.telling import Teller


def live(teller: Teller) -> None:
    with Holder("ordinary", "ordinary") as ordinary, Holder("secret", "secret") as secret:
        memory.step(teller, [ordinary, secret])


BOOTS = {"live": live}


def main() -> None:
    words = Path("/proc/cmdline").read_text().split()
    (boot,) = [word.partition("=")[2] for word in words if word.startswith("vm.boot=")]
    teller = Teller()
    teller.measured("release", os.uname().release)
    try:
        BOOTS[boot](teller)
    except BaseException:
        traceback.print_exc()  # to the console, whose end the host shows
        sys.exit(1)
    teller.end()


if __name__ == "__main__":
    main()
