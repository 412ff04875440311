"""Growing a heap until something stops it. For child processes."""
from secalloc import AllocationError, SecureBytes

FILLING = 0xA5


def _bytes(size, **options):
    def make(heap):
        made = SecureBytes(size, heap=heap, **options)
        made[-1] = FILLING
        return made

    return make


def _array(shape):
    import secalloc.numpy as snp  # not needed for the other kinds

    def make(heap):
        made = snp.zeros(shape, "u1", heap=heap)
        made.flat[-1] = FILLING
        return made

    return make


# How each kind of object is made: its last byte shows that it was not touched since.
KINDS = {
    "small": lambda: _bytes(500),
    "large": lambda: _bytes(200_000),
    "guarded": lambda: _bytes(500, guarded=True),
    "array": lambda: _array((90, 100)),
    "large array": lambda: _array((300, 1_000)),
}


def grow(make, heap, most=1_000_000):
    """Make objects until the heap refuses; answers them and the refusal, which is None after `most`."""
    live = []
    try:
        while len(live) < most:
            live.append(make(heap))
    except AllocationError as error:
        error.__context__ = None  # its traceback's frames hold the objects
        return live, error.with_traceback(None)
    return live, None


def untouched(live):
    return all(memoryview(each).cast("B")[-1] == FILLING for each in live)
