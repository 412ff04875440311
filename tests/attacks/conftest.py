"""Fixtures of the classes below `support.attacking.AttackOnHeldObjects`."""
import pytest
from support.attacking import Holders
from support.victim import KINDS


@pytest.fixture(scope="package")
def holders():
    """Processes to attack."""
    running = Holders()
    yield running
    running.close()


@pytest.fixture(scope="class", params=KINDS)
def kind(request):
    """A kind of object."""
    return request.param


@pytest.fixture(scope="class")
def found(request, holders, kind):
    """What the class's attack found of it."""
    return holders.found_by(request.cls.attack, kind, uid=request.cls.uid)
