"""What two calls answered, side by side."""
from hypothesis import note
from support.oracle import outcome

from fuzz import behaviour
from secalloc import SecureBytes


def plain(answer):
    """An answer in types that both sides have: what holds bytes is bytes, an error is its type."""
    if isinstance(answer, SecureBytes | bytes | bytearray | memoryview):
        return bytes(answer)
    if isinstance(answer, list | tuple):
        return type(answer)(map(plain, answer))
    return answer


def is_error(answer):
    return isinstance(answer, type) and issubclass(answer, Exception)


def alike(name, ours, theirs, about=0):
    """Call both: the same answer, or an error that is one of the other's; answers ours. `about`: a size, to report."""
    answer, expected = outcome(ours), outcome(theirs)
    behaviour.saw(name, behaviour.kind(answer), behaviour.size(about))
    note(f"{name}: {plain(answer)!r:.200}, expected {plain(expected)!r:.200}")
    if is_error(expected):
        assert is_error(answer), f"{name} answered where {expected.__name__} was to be raised"
        assert issubclass(answer, expected), f"{name} raised {answer.__name__}, not {expected.__name__}"
    else:
        assert not is_error(answer), f"{name} raised {answer.__name__}"
        assert plain(answer) == plain(expected), f"{name} answered something else"
    return answer
