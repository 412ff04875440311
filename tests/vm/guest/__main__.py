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
    """Steps a to g. The last one, where the kernel has it, ends the machine."""
    hibernates = power.is_offered()
    if hibernates:
        power.tell_state(teller, power.NO_SECRET)
        power.tell_trimmed(teller)
    else:
        power.tell_lack(teller)
    with Holder("ordinary", "ordinary") as ordinary, Holder("secret", "secret") as secret:
        if hibernates:
            power.tell_state(teller, power.LIVE)
            power.tell_refusal(teller)
        memory.step(teller, [ordinary, secret])
    if hibernates:
        power.tell_state(teller, power.KILLED)
    lock.step(teller)
    limit.step(teller)
    swap.activate()
    with Holder("ordinary", "ordinary") as ordinary, Holder("secret", "secret") as secret:
        swap.step(teller, [ordinary, secret])
    if hibernates:
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
