"""Fixtures of the classes below `support.attacking.AttackOnHeldObjects`."""
import pytest
from support.attacking import found_by
from support.victim import KINDS


@pytest.fixture(scope="class", params=KINDS)
def kind(request):
    """A kind of object."""
    return request.param


@pytest.fixture(scope="class")
def found(request, kind):
    """What the class's attack found of it."""
    return found_by(request.cls.attack, kind, uid=request.cls.uid)
