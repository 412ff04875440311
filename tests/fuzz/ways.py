"""What a target can do, each a function with strategies for its arguments; an example is a list of such steps."""
from hypothesis import strategies as st


class Ways:
    def __init__(self):
        self.functions, self.strategies = {}, []

    def __call__(self, *strategies, times=1):
        """Decorates a function that takes what the strategies make, behind what `go` hands it. It comes `times` as
        often as others: by strategies of its own, as hypothesis leaves out what it has already."""

        def add(function):
            self.functions[function.__name__] = function
            self.strategies += [st.tuples(st.just(function.__name__), *strategies) for _ in range(times)]
            return function

        return add

    def lists(self, most):
        return st.lists(st.one_of(self.strategies), min_size=1, max_size=most)

    def go(self, step, *handed):
        name, *arguments = step
        return self.functions[name](*handed, *arguments)
