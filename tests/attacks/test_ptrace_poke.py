"""`ptrace(2)`: a debugger writes words to the very addresses."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "ptrace poke"


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "ptrace poke"
