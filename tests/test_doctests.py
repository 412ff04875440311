"""The examples in docstrings, run as they stand."""
import doctest
import importlib

import pytest

import secalloc

MODULES = [importlib.import_module(f"secalloc.{name}") for name in ("numpy", "kdf")]


def documented():
    """Objects by name: the public ones of secalloc and of what it has, their methods, and the modules themselves."""
    for module in (secalloc, *MODULES):
        yield module.__name__, module
        for name in module.__all__:
            thing = getattr(module, name)
            yield f"{module.__name__}.{name}", thing
            if isinstance(thing, type):
                yield from ((f"{module.__name__}.{name}.{part}", getattr(thing, part)) for part in vars(thing))


WITH_EXAMPLES = {name: thing for name, thing in documented() if ">>>" in (getattr(thing, "__doc__", "") or "")}


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_an_example_does_what_it_says(name):
    names = {name: getattr(secalloc, name) for name in secalloc.__all__} | {"snp": MODULES[0]}
    test = doctest.DocTestParser().get_doctest(WITH_EXAMPLES[name].__doc__, names, name, None, 0)
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert (results.failed, results.attempted) == (0, len(test.examples))
    assert test.examples


def test_there_are_examples_of_the_main_things():
    assert {"secalloc.SecureBytes", "secalloc.numpy"} <= set(WITH_EXAMPLES)


def test_a_wrong_example_is_found():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner().run(test, out=lambda text: None).failed == 1
