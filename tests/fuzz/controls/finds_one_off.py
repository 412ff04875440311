"""The methods, of which `find` answers one too many."""
from fuzz.targets import methods

HEAPS = methods.HEAPS


def called(key, name):
    method = getattr(key, name)
    if name != "find" or key.wiped:
        return method

    return lambda *arguments: method(*arguments) + 1


methods.called = called
check = methods.check
