"""`execve(2)`: another program has every descriptor that its parent had open. It reaches shared files, no more."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "exec"
    reaches = ("shared",)


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "exec"
    reaches = ("shared",)
