"""The kernel's own view: the frame of a page by `/proc/PID/pagemap`, and what `/proc/kcore` shows of that frame."""
import os
from pathlib import Path

import pytest
from support.attacking import ORDINARY, AttackOnHeldObjects

no_kcore = pytest.mark.skipif(
    not Path("/proc/kcore").exists(), reason="the kernel has no /proc/kcore; `python tests/vm` boots kernels that have"
)


@no_kcore
class TestAsThisUser(AttackOnHeldObjects):
    attack = "pagemap, kcore"


@no_kcore
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_may_not_read_it(holders):
    outcome = holders.outcome_of("pagemap, kcore", "small object", uid=ORDINARY)
    assert outcome.skipped
    assert outcome.found == []
