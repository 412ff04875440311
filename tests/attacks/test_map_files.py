"""`/proc/PID/map_files`: every mapped file is opened and read. It reaches shared memory, no more."""
import os

import pytest
from support.attacking import ORDINARY, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "/proc/PID/map_files"
    reaches = ("shared",)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_may_not_follow_the_links(holders):
    outcome = holders.outcome_of("/proc/PID/map_files", "small object", uid=ORDINARY)
    assert "CAP_CHECKPOINT_RESTORE" in outcome.skipped
    assert outcome.found == []
