"""Started by the initramfs: the steps of the boot that the kernel's command line names, one after the other."""
from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from vm.guest import fill, limit, lock, memory, power, swap, without
from vm.guest.holding import Holder
from vm.guest.telling import Teller


def live(teller: Teller) -> None:
    """Steps a to g. The last one ends the machine."""
    power.tell_state(teller, "no secret")
    power.tell_trimmed(teller)
    with Holder("ordinary", "ordinary") as ordinary, Holder("secret", "secret") as secret:
        power.tell_state(teller, "secrets live")
        power.tell_refusal(teller)
        memory.step(teller, [ordinary, secret])
    power.tell_state(teller, "holders killed")
    lock.step(teller)
    limit.step(teller)
    swap.activate()
    with Holder("ordinary", "ordinary") as ordinary, Holder("secret", "secret") as secret:
        swap.step(teller, [ordinary, secret])
    power.hibernate(teller)


BOOTS = {"live": live, "off": without.step, "fill": fill.step}


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
