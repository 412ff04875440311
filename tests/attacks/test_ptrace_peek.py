"""`ptrace(2)`: a debugger peeks at the very addresses."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "ptrace peek"


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "ptrace peek"
