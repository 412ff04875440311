"""`O_DIRECT`: a device writes the pages to a file."""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects


class TestAsThisUser(AttackOnHeldObjects):
    attack = "O_DIRECT"


class TestAsAnOrdinaryUser(AttackByTheSameOrdinaryUser):
    attack = "O_DIRECT"
