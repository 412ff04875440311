"""`/proc/PID/mem`, read from the first mapping to the last."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "/proc/PID/mem"


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "/proc/PID/mem"
