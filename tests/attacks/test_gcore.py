"""gdb's `gcore`: a dump of a process that lives on."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "gcore"


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "gcore"
