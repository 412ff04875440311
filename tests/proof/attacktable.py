"""What each attack reaches of each kind of object: by root, by the same ordinary user, and by another one."""
import platform
import sys

from support.attacking import ORDINARY, OTHER, Holders
from support.victim import KINDS

from secalloc.attacks import ATTACKS

ATTACKERS = {
    "root": {},
    "same user": {"uid": ORDINARY},
    "another user": {"uid": ORDINARY, "attacker": OTHER},
}


def measure():
    """By attacker, attack and kind: the names of the samples found, or why it could not be tried."""
    holders = Holders()
    try:
        return {
            "versions": [platform.release(), sys.version.split()[0]],
            "attackers": {
                attacker: {
                    attack.name: {kind: cell(holders.outcome_of(attack.name, kind, **users)) for kind in KINDS}
                    for attack in ATTACKS.values()
                    if not (attack.inside and attacker == "another user")
                }
                for attacker, users in ATTACKERS.items()
            },
        }
    finally:
        holders.close()


def cell(outcome):
    if outcome.failed is not None:
        raise RuntimeError(f"{outcome.attack}: {outcome.failed}")
    return {"found": outcome.found, "skipped": outcome.skipped}
