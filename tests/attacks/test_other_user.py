"""An attacker of another user, without capabilities: the kernel refuses all of it, ordinary memory included.

That the same attacks find the ordinary copies where they are allowed is shown in the file of each.
"""
import os

import pytest
from support.attacking import ORDINARY, OTHER, must_run

from secalloc.attacks import ATTACKS

OUTSIDE = [name for name, attack in ATTACKS.items() if not attack.inside and name != "pagemap, kcore"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("attack", OUTSIDE)
def test_another_user_is_refused(holders, attack):
    refused = holders.outcome_of(attack, "small object", uid=ORDINARY, attacker=OTHER)
    assert refused.skipped
    assert refused.found == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("attack", [name for name in OUTSIDE if name != "/proc/PID/map_files"])
def test_it_is_the_user_that_makes_the_difference(holders, attack):
    allowed = holders.outcome_of(attack, "small object", uid=ORDINARY, attacker=ORDINARY)
    must_run(allowed.skipped)
    assert "shared start" in allowed.found
