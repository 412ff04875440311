"""`pidfd_getfd(2)`: every descriptor is taken over and mapped. It reaches what a descriptor is open for, no more."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "pidfd_getfd"
    reaches = ("shared",)


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "pidfd_getfd"
    reaches = ("shared",)
