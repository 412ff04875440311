"""`vmsplice(2)`: the pages themselves go into a pipe."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "vmsplice"


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "vmsplice"
