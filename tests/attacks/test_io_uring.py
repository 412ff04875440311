"""`io_uring(7)`: the memory becomes a registered buffer, and is written from there."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "io_uring"


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "io_uring"
