"""The attacker's program: see `secalloc.attacks`."""
from __future__ import annotations

import json
import sys
from dataclasses import asdict

from secalloc.attacks import Order, attack, become


def main() -> None:
    if len(sys.argv) > 1:
        become(int(sys.argv[1]))
    order = Order.from_json(sys.stdin.read())
    json.dump([asdict(attack(name, order.target)) for name in order.attacks], sys.stdout)


if __name__ == "__main__":
    main()
