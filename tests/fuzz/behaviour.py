"""What examples did, as far as it tells one input from another that does the same.

The core is compiled without counters of what ran, so the corpus is led by what can be seen from outside: a target
reports each thing it has tried as a tuple of few values: the name, what came of it, about what size. One example's are
`of_example`.
"""
of_example = set()


def saw(*what):
    """Report; of few different values each."""
    of_example.add(what)


def forget():
    """Before the next example."""
    of_example.clear()


def size(number):
    """About how large: by powers of two, and the edges of what is small, in a slot, large, and more than there is."""
    if not 2 < number < 2**40:
        return min(max(number, -1), 2**40)
    return 100 + (number > 4_088) + (number > 16_392) if number > 1_016 else number.bit_length() + 2


def kind(answer):
    """What sort of answer: a type, and of a collection or number hardly more."""
    if isinstance(answer, type):
        return answer.__name__  # of an error
    if isinstance(answer, bool) or answer is None:
        return answer
    if isinstance(answer, int):
        return (answer > 0) - (answer < 0)
    if isinstance(answer, list | tuple):
        return type(answer).__name__, min(len(answer), 3)
    return type(answer).__name__
