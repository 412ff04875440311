"""pytest's plug-in, the fixture ``leak_scan``: here, so that a session without it imports nothing of secalloc."""
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from secalloc.leaks import LeakScan

__all__ = ["leak_scan"]


@pytest.fixture
def leak_scan() -> LeakScan:
    """Searches this process's ordinary memory for a secret: ``secret = leak_scan.marker()``, use it, and then
    ``assert leak_scan(secret) == []``. Each scan has a control, and raises `secalloc.leaks.Blind` if that fails."""
    from secalloc.leaks import LeakScan

    return LeakScan()
