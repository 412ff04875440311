"""Steps of hypothesis's state machines: counted, and as many as asked for."""
from functools import wraps

from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule, run_state_machine_as_test

STEPS_PER_EXAMPLE = 100


def step(**strategies):
    """A rule whose runs are counted in `steps_made` of its machine's class."""

    def decorate(function):
        @wraps(function)
        def counted(self, **arguments):
            type(self).steps_made += 1
            return function(self, **arguments)

        return rule(**strategies)(counted)

    return decorate


def run(machine, steps, **options):
    """Make at least `steps` steps of a machine, STEPS_PER_EXAMPLE or less in a fresh one each; answers how many."""
    machine.steps_made = 0
    while machine.steps_made < steps:
        before = machine.steps_made
        examples = (steps - before) // STEPS_PER_EXAMPLE + 5
        run_state_machine_as_test(machine, settings=settings(
            max_examples=examples, stateful_step_count=STEPS_PER_EXAMPLE, deadline=None,
            suppress_health_check=list(HealthCheck), **options))  # fmt: skip
        assert machine.steps_made > before
    return machine.steps_made
