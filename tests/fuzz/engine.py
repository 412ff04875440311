"""One target in this process, for a time: from the corpus to inputs that nobody thought of.

Deterministic by the seed, as far as the target is. Every input is in the journal before it is run.
"""
import base64
import random
import time
import traceback
import zlib
from typing import NamedTuple

from fuzz import behaviour, corpora
from fuzz.mutation import Mutator, smaller

TAIL_BYTES = 1_000  # so that arguments do not end before hypothesis has made them
FRESH = 0.15  # the part of inputs that come from no other


class Finding(NamedTuple):
    """`error`: in a line; `told`: the whole story; `again`: the input as text."""

    error: str
    told: str
    again: str


def as_text(data):
    """An input for a command line."""
    return base64.urlsafe_b64encode(zlib.compress(data, 9)).decode()


def from_text(text):
    return zlib.decompress(base64.urlsafe_b64decode(text))


class Fuzzer:
    def __init__(self, target, journal, seed):
        self.target, self.journal = target, journal
        self.random = random.Random(seed)
        self.mutator = Mutator(self.random, target.tokens)
        self.behaviours = set()
        self.pool = []  # inputs that showed something new, each with all that it showed
        self.examples = self.valid = 0
        self.findings = {}  # by where it was

    def run(self, corpus, until, examples_max, findings_max):
        """The corpus, then others until a moment of the monotonic clock or so many examples, or findings."""
        for data in corpus:
            self.example(data)
        while time.monotonic() < until and self.examples < examples_max and len(self.findings) < findings_max:
            self.example(self.another())

    def another(self):
        if not self.pool or self.random.random() < FRESH:
            data = self.mutator.fresh()
        else:
            data = self.mutator.mutate(self.one(), self.one())
        return data if self.target.raw else data + self.random.randbytes(TAIL_BYTES)

    def one(self):
        """Of the pool, the later ones more often: they led somewhere last."""
        return self.pool[int(len(self.pool) * self.random.random() ** 0.5)][0]

    def example(self, data):
        self.examples += 1
        self.journal.write(self.examples, self.valid, len(self.behaviours), data)
        try:
            used = self.target.run(data)
        except Exception as error:
            self.keep(error, data)
            return
        if used is None:
            return
        self.valid += 1
        if not behaviour.of_example <= self.behaviours:
            self.behaviours |= behaviour.of_example
            self.pool.append((used, frozenset(behaviour.of_example)))

    def keep(self, error, data):
        """Of the errors of one place the first; made smaller."""
        place = place_of(error)
        if place in self.findings:
            return
        data = smaller(data, lambda other: self.fails_at(place, other), tries=500)
        error = self.target.smallest_failure() or error
        told = "".join(traceback.format_exception(error, chain=False))
        line = traceback.format_exception_only(error)[0].strip()
        self.findings[place] = Finding(line, told, as_text(data))

    def fails_at(self, place, data):
        try:
            self.target.run(data)
        except Exception as error:
            return place_of(error) == place
        return False

    def grow(self):
        """Put into the repository what shows all that was seen."""
        corpora.store(self.target.name, corpora.chosen(self.pool))


def place_of(error):
    """Where it was raised, and what it says; no message in targets has a value in it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return type(error).__name__, frame.filename, frame.lineno, str(error)[:40]
