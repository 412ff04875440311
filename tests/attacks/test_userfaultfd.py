"""`userfaultfd(2)`: somebody else answers for the faults of the range."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "userfaultfd"


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "userfaultfd"
