"""`process_vm_writev(2)`: one process writes into another."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "process_vm_writev"


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "process_vm_writev"
