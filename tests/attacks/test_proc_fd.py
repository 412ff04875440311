"""`/proc/PID/fd`: every open file is opened once more, by its link. It reaches what a descriptor is open for."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "/proc/PID/fd"
    reaches = ("shared",)


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "/proc/PID/fd"
    reaches = ("shared",)
