"""`process_vm_readv(2)`: one process copies from another."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "process_vm_readv"


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "process_vm_readv"
