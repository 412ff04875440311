"""`fork(2)`: the child looks at its parent's secrets.

What Python and OpenSSL themselves need to go on is there, as copies: these heaps are `on_fork="copy"`, and say so.
"""
from support.attacking import AttackByTheSameOrdinaryUser, AttackOnHeldObjects, samples
from support.victim import OPENSSL_KEY

COPIED = ("object of a scope", OPENSSL_KEY)


class ForkOfAHolder(AttackOnHeldObjects):
    attack = "fork"

    def test_it_finds_nothing_of_the_secret_object(self, found, kind):
        assert samples("secret") & found == (samples("secret") if kind in COPIED else set())


class TestAsThisUser(ForkOfAHolder):
    pass


class TestAsAnOrdinaryUser(ForkOfAHolder, AttackByTheSameOrdinaryUser):
    pass
