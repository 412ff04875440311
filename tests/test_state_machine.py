"""Random steps over the C API and over SecureBytes against plain models, the heap checked after each.

At least --state-machine-steps of them are made, in equal parts by each machine.
"""
import pytest
from hypothesis import Phase
from support import capi
from support.capi_machine import CAPIMachine
from support.children import succeed
from support.fixtures import nothing_leaks  # noqa: F401
from support.object_machine import ObjectMachine
from support.steps import run

SECONDS_MAX = 250  # shrinking a failure takes longer than finding it; the test's own timeout is above
STEPS_SOON = 20_000  # that many have time enough
DEFAULT_HEAPS = [("isolate", "fast", "secretmem"), ("copy", "full", "secretmem"), ("copy", "fast", "mlock")]
MACHINES = len(DEFAULT_HEAPS) + 2  # one over SecureBytes has the work of two


@pytest.fixture(scope="module")
def made(request):
    """Steps made, by machine; told and summed up at the end."""
    counts = []
    wanted = request.config.getoption("--state-machine-steps")
    yield counts
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{sum(counts)} steps of state machines")
    assert len(counts) < len(DEFAULT_HEAPS) + 1 or sum(counts) >= wanted


@pytest.fixture
def share(request):
    """The steps that are one machine's to make."""
    return -(-request.config.getoption("--state-machine-steps") // MACHINES)


@pytest.mark.parametrize(("on_fork", "hardening", "backend"), DEFAULT_HEAPS)
def test_the_c_api_does_what_a_plain_model_does(made, share, on_fork, hardening, backend):
    told = succeed(
        """
        import sys, secalloc
        steps, on_fork, hardening, backend = sys.argv[1:]
        secalloc.configure(on_fork=on_fork, hardening=hardening, backend=backend)
        from support.capi_machine import CAPIMachine
        from support.steps import run
        print(run(CAPIMachine, int(steps), database=None))
        """,
        share, on_fork, hardening, backend, timeout=SECONDS_MAX if share <= STEPS_SOON else None,
    )  # fmt: skip
    made.append(int(told))
    assert made[-1] >= share


def test_secure_bytes_in_heaps_of_every_kind_do_what_a_plain_model_does(made, share):
    made.append(run(ObjectMachine, 2 * share))
    assert made[-1] >= 2 * share


# --- positive controls: the machines notice ---


class Broken:
    """The C API with one fault, which `repair` makes good again."""

    def __init__(self):
        self.undo = []

    def __getattr__(self, name):
        return getattr(capi, name)

    def repair(self):
        while self.undo:
            call, *arguments = self.undo.pop()
            call(*arguments)


class SpoilsTheCanaryBeforeAGuardedObject(Broken):
    def guarded_alloc(self, size):
        pointer = capi.guarded_alloc(size)
        if size % 4096:
            capi.spoil(pointer - 1)
            self.undo.append((capi.spoil, pointer - 1))
        return pointer


class ForgetsToFree(Broken):
    def free(self, pointer):
        self.undo.append((capi.free, pointer))


class AnswersMemoryThatIsNotZero(Broken):
    def calloc(self, n, size):
        pointer = capi.calloc(n, size)
        if n * size:
            capi.write(pointer, b"x")
            self.undo.append((capi.free, pointer))  # the machine has not come to know of it
        return pointer


class LosesAByteInRealloc(Broken):
    def realloc(self, pointer, size):
        kept = min(capi.usable_size(pointer), size)
        moved = capi.realloc(pointer, size)
        if kept:
            capi.spoil(moved + kept - 1)
            self.undo.append((capi.free, moved))
        return moved


class TellsTheSlotForTheSize(Broken):
    def usable_size(self, pointer):
        return capi.usable_size(pointer) + 8


class AlignsToSixteen(Broken):
    def aligned_alloc(self, alignment, size):
        if alignment <= 16:
            return capi.aligned_alloc(alignment, size)
        self.undo.append((capi.free, capi.aligned_alloc(alignment, size + 16)))
        return self.undo[-1][1] + 16


def notices(machine):
    """Whether the machine fails within some hundred steps."""
    try:
        run(machine, 3_000, phases=[Phase.generate], database=None)
    except (AssertionError, pytest.fail.Exception):
        return True
    return False


@pytest.mark.parametrize("fault", Broken.__subclasses__())
def test_the_machine_notices_a_c_api_that(fault):
    class Machine(CAPIMachine):
        api = fault()

        def teardown(self):
            self.api.repair()
            super().teardown()

    assert notices(Machine)


class SpoiledObject(ObjectMachine):
    """A canary is not what it was."""

    spoiled = None

    def make_one(self, place, size, way="bytes"):
        super().make_one(place, size, way)
        last = place.items[-1] if place.items else None
        if self.spoiled is None and last and last.content and not last.guarded:
            self.spoiled = capi.address_of(last.key) + len(last.content)
            capi.spoil(self.spoiled)

    def teardown(self):
        if self.spoiled:
            capi.spoil(self.spoiled)
        super().teardown()


class ForgottenWrite(ObjectMachine):
    """The bytes are not what was written."""

    def write_here(self, item, at, data):
        before = bytes(item.content)
        super().write_here(item, at, data)
        item.content[:] = before


class WrongPolicy(ObjectMachine):
    """A child finds copies where it should find nothing, or nothing where it should find copies."""

    def live_as_a_child(self, sizes, has_a_child):
        for place in self.places:
            place.isolated = not place.isolated
        super().live_as_a_child(sizes, has_a_child)


class UncountedObject(ObjectMachine):
    """More lives in a heap than was made."""

    def make_one(self, place, size, way="bytes"):
        super().make_one(place, size, way)
        if place.items:
            self.extra = place.items.pop()


@pytest.mark.parametrize("machine", [SpoiledObject, ForgottenWrite, WrongPolicy, UncountedObject])
def test_the_machine_over_secure_bytes_notices_a(machine):
    assert notices(machine)
