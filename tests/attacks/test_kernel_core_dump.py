"""The core dump that the kernel writes."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "kernel core dump"


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "kernel core dump"
