"""Step h: a kernel whose secret memory is switched off: the error and its remedy, `secalloc check`, and `auto`."""
from __future__ import annotations

import errno
import json
import subprocess
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

from secalloc import SecretMemoryUnavailable, SecretMemoryWarning, SecureBytes, configure
from secalloc.attacks import Needle, kcore
from secalloc.check import findings, usable
from secalloc.holder import Held, address_of, needle_of
from vm.guest.lookthrough import look
from vm.guest.telling import Teller

__all__ = ["step"]

SIZE = 32


def tell_error(teller: Teller) -> None:
    """The default backend fails closed."""
    try:
        SecureBytes(SIZE)
    except SecretMemoryUnavailable as error:
        teller.measured("off: error", errno.errorcode[error.errno or 0])
        teller.measured("off: remedy", str(error))
    else:
        teller.measured("off: error", "none")
    rows = findings()
    (row,) = [row for row in rows if row.name == "memfd_secret"]
    teller.measured("off: secalloc check", {"usable": usable(rows), "value": row.value, "advice": row.advice})


def fall_back() -> None:
    """The program that uses `auto`: it tells which warning it got, where its object is, and waits."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        configure(backend="auto")
        keys = [SecureBytes.random(SIZE) for _ in range(2)]
    held = Held(objects=list(keys))
    for i, key in enumerate(keys):
        held.needles.append(needle_of(f"mlock {i}", memoryview(key), address_of(key)))
    told = {
        "warnings": [each.category.__name__ for each in caught],
        "expected": SecretMemoryWarning.__name__,
        "backends": [key.backend for key in keys],
        "locked": any(line.startswith("VmLck:") and int(line.split()[1]) > 0
                      for line in Path("/proc/self/status").read_text().splitlines()),
        "needles": [asdict(needle) for needle in held.needles],
    }  # fmt: skip
    print(json.dumps(told), flush=True)
    sys.stdin.readline()


def tell_fallback(teller: Teller) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", "from vm.guest.without import fall_back; fall_back()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        told = json.loads(child.stdout.readline())
        needles = [Needle(**each) for each in told.pop("needles")]
        teller.measured("off: auto", told)
        looked = look(needles)
        found = {each.needle for each in looked.found if each.kind == kcore.DIRECT}
        teller.measured("off: objects of auto in the direct map", {"of": len(needles), "found": len(found)})


def step(teller: Teller) -> None:
    tell_error(teller)
    tell_fallback(teller)
