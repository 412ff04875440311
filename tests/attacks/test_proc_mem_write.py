"""`/proc/PID/mem`, written at the very addresses."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "/proc/PID/mem write"


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "/proc/PID/mem write"
