"""What a target can do, each a function with strategies for its arguments; an example is a list of such steps."""
from hypothesis import strategies as st


class Ways:
    def __init__(self):
        self.functions, self.strategies = {}, []

    def __call__(self, *strategies):
        """Decorates a function that takes what the strategies make, behind what `go` hands it."""

        def add(function):
            self.functions[function.__name__] = function
            self.strategies.append(st.tuples(st.just(function.__name__), *strategies))
            return function

        return add

    def lists(self, most):
        return st.lists(st.one_of(self.strategies), min_size=1, max_size=most)

    def go(self, step, *handed):
        name, *arguments = step
        return self.functions[name](*handed, *arguments)
