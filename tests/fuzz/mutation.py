"""Other inputs from those there are, and smaller ones from one that shows something.

Hypothesis makes arguments of bytes, and makes failures smaller; it does not make bytes of bytes, nor make smaller what
ends the process.
"""
from fuzz.journal import INPUT_BYTES_MAX

BYTES = (0, 1, 2, 0x20, 0x7F, 0x80, 0xFE, 0xFF)
SPAN_MAX = 64
STACKED_MAX = 6  # changes made one upon the other


class Mutator:
    """`tokens`: words of the language that raw inputs are in; none for those that hypothesis reads."""

    def __init__(self, random, tokens=()):
        self.random = random
        self.tokens = tokens
        self.changes = [self.flip, self.set, self.insert, self.delete, self.double, self.splice, self.count]
        if tokens:
            self.changes += [self.token, self.token]

    def fresh(self):
        """An input that comes from none."""
        if self.tokens and self.random.random() < 0.8:
            return b"".join(self.random.choices(self.tokens, k=self.random.randrange(1, 12)))
        return self.random.randbytes(self.random.randrange(1, 300))

    def mutate(self, data, other):
        """`other`: an input to take a part of."""
        data = bytearray(data)
        for _ in range(self.random.randrange(1, STACKED_MAX)):
            self.random.choice(self.changes)(data, other)
        return bytes(data[: INPUT_BYTES_MAX // 2])

    def span(self, data):
        """A part of it, short more often than long."""
        start = self.random.randrange(len(data) + 1)
        return slice(start, start + self.random.choice([1, 1, 2, 4, 8, self.random.randrange(1, SPAN_MAX)]))

    def flip(self, data, other):
        if data:
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)

    def set(self, data, other):
        if data:
            data[self.random.randrange(len(data))] = self.random.choice((*BYTES, self.random.randrange(256)))

    def count(self, data, other):
        """One up or down: numbers and lengths."""
        if data:
            at = self.random.randrange(len(data))
            data[at] = (data[at] + self.random.choice((-1, 1))) % 256

    def insert(self, data, other):
        at = self.random.randrange(len(data) + 1)
        data[at:at] = self.random.randbytes(self.random.choice([1, 1, 2, 4, 16]))

    def delete(self, data, other):
        del data[self.span(data)]

    def double(self, data, other):
        part = data[self.span(data)]
        at = self.random.randrange(len(data) + 1)
        data[at:at] = part

    def splice(self, data, other):
        data[self.span(data)] = other[self.span(other)]

    def token(self, data, other):
        data[self.span(data)] = self.random.choice(self.tokens)


def smaller(data, shows, tries):
    """The smallest input found, with at most so many `tries`, for which `shows(input)` holds as it does for `data`."""
    size = len(data) // 2
    while size:
        at = 0
        while at < len(data):
            if tries == 0:
                return data
            tries -= 1
            without = data[:at] + data[at + size :]
            if shows(without):
                data = without
            else:
                at += size
        size //= 2
    return data
