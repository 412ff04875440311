"""Methods, operators, items, views and ends of SecureBytes, one after the other, beside a bytearray.

What a method answers may be what the next ones are asked of. A frozen one has a `bytes` for a model, a wiped one None.
"""
import base64
import copy
import operator
import os
import pickle
import socket
import struct
from typing import NamedTuple

import test_securebytes_methods
from hypothesis import given, note
from hypothesis import strategies as st
from test_securebytes_methods import METHODS, OPERATORS, calls, foretold, told

from fuzz.behaviour import kind, saw, size
from fuzz.compare import alike, is_error, outcome, plain
from fuzz.values import CONTENT, ENDS, HUGE, SLICES, SMALL, SOME, Index, sources
from fuzz.ways import Ways
from secalloc import SecureBytes, WipedError
from secalloc_ext.heapobject import DEFAULT

HEAP = test_securebytes_methods.HEAP
HEAPS = (DEFAULT, HEAP)
way = Ways()
called = getattr  # what the positive control puts something else for


class Subject:
    """The SecureBytes that the steps are about, and its model: of bytes where it is frozen, None where it is wiped."""

    def __init__(self, content):
        self.become(SecureBytes(content, heap=HEAP), bytearray(content))

    def become(self, key, model):
        self.key, self.model = key, model

    def go_on_with(self, answer):
        """Have the first SecureBytes of an answer for the next steps."""
        for each in answer if isinstance(answer, list | tuple) else [answer]:
            if isinstance(each, SecureBytes):
                assert not each.frozen
                self.become(each, bytearray(bytes(each)))
                return

    def compare(self, name, ours, theirs, *arguments):
        """`theirs` is called with the model; answers what ours answered."""
        if self.model is None:
            answer = outcome(ours)
            saw(name, "wiped", kind(answer))
            assert is_error(answer)
            return None
        answer = outcome(ours)
        model = bytearray(self.model) if isinstance(self.model, bytes) else self.model
        expected = outcome(lambda: theirs(model))
        saw(name, kind(answer), size(len(self.model)))
        note(f"{name}{plain(arguments)!r:.200}: {plain(answer)!r:.200}, expected {plain(expected)!r:.200}")
        assert told(answer) == foretold(expected), f"{name} answered something else"
        assert answer is not self.key, f"{name} answered the object itself"
        return answer

    def change(self, name, ours, theirs):
        """The same of what changes it: a frozen one refuses."""
        if isinstance(self.model, bytes):
            answer = outcome(ours)
            saw(name, "frozen", kind(answer))
            assert is_error(answer)
        else:
            self.compare(name, ours, theirs)

    def check(self):
        assert self.key.wiped == (self.model is None)
        if self.model is not None:
            assert self.key == self.model, "it does not hold what its model holds"
            assert self.key.frozen == isinstance(self.model, bytes)


CALLS = st.one_of([st.tuples(st.just(name), calls(*METHODS[name])) for name in METHODS])


@way(CALLS, st.booleans(), times=20)  # most of what there is
def method(subject, call, goes_on):
    name, (arguments, named) = call
    change = subject.change if name == "reverse" else subject.compare
    ours = called(subject.key, name)
    answer = change(name, lambda: ours(*arguments, **named), lambda model: getattr(model, name)(*arguments, **named))
    if goes_on:
        subject.go_on_with(answer)


@way(st.one_of([st.tuples(st.just(name), st.one_of(each.right, each.wrong)) for name, (_, each) in OPERATORS.items()]))
def operate(subject, call):
    """`+=` makes another object, for this and for bytes."""
    name, value = call
    apply = OPERATORS[name][0]
    other = bytes(value) if isinstance(value, SecureBytes) else value
    model = None if subject.model is None else bytearray(subject.model)  # changed by `+=`
    subject.go_on_with(subject.compare(name, lambda: apply(subject.key, value), lambda _: apply(model, other), value))


@way(
    st.one_of(
        SMALL,
        st.sampled_from(HUGE),
        SMALL.map(Index),
        SLICES,
        SLICES,
        st.sampled_from([None, 1.5, "1", (0, 1), slice("a", 1)]),
    )
)
def get_item(subject, at):
    subject.go_on_with(subject.compare("[]", lambda: subject.key[at], lambda model: model[at], at))


@way(
    st.one_of(SMALL, st.sampled_from(HUGE), SMALL.map(Index), st.just(None)),
    st.one_of(st.integers(-1, 256), st.sampled_from([None, b"a", Index(7), 2**70])),
)
def set_item(subject, at, value):
    """With one mistake, not two: of two either may be told."""
    value = 0 if at is None or at in HUGE else value
    subject.change("[]=", lambda: subject.key.__setitem__(at, value), lambda model: model.__setitem__(at, value))


@way(SLICES, sources(CONTENT), st.booleans())
def set_slice(subject, part, source, fits):
    """Of another size than the slice it is refused, as by a memoryview."""
    value = bytes(source.make())
    if fits and subject.model is not None and part.step != 0:
        room = len(subject.model[part])
        value = (value * (room // max(len(value), 1) + 1))[:room] if value else bytes(room)
    given = (
        subject.key
        if source.kind == "SecureBytes" and value == subject.model
        else SecureBytes(value)
        if source.kind == "SecureBytes"
        else value
    )

    def model(content):
        if len(content[part]) != len(value):
            raise ValueError
        content[part] = value

    subject.change("[:]=", lambda: subject.key.__setitem__(part, given), model)


@way(ENDS)
def del_item(subject, at):
    answer = outcome(lambda: subject.key.__delitem__(at))
    assert answer is TypeError or (subject.model is None and is_error(answer))


@way(SLICES, st.sampled_from(["B", "b", "c", "H", "i", "q", "d", "?", "e", "x", "@Q", "<i"]), st.booleans())
def view(subject, part, form, cast_first):
    """Cast, sliced, read, and released again."""

    def look(key):
        with memoryview(key) as whole:
            if cast_first:
                with whole.cast(form) as cast, cast[part] as some:
                    return some.tolist(), some.nbytes, some.contiguous, some.format
            with whole[part] as some, some.cast(form) as cast:
                return bytes(cast), cast.shape, cast.readonly and not isinstance(subject.model, bytes)

    if subject.model is None:
        assert outcome(look, subject.key) is WipedError
    else:
        alike(
            f"view {form} {cast_first}",
            lambda: repr(look(subject.key)),
            lambda: repr(look(subject.model)),
            len(subject.model),
        )


@way(st.sampled_from(["B", "<q", ">H", "5s", "d", "0s", "p", "??"]), SMALL, st.integers(-200, 300))
def pack_into(subject, form, at, number):
    def pack(key):
        struct.pack_into(form, key, at, *[{"s": b"text", "p": b"a"}.get(form[-1], number)] * (2 if form == "??" else 1))

    subject.change(f"pack_into {form}", lambda: pack(subject.key), pack)


@way(
    st.sampled_from(["eq", "ne", "lt", "ge"]),
    st.one_of(sources(CONTENT), st.sampled_from([None, 5, "text"])),
    st.booleans(),
)
def relation(subject, name, other, itself):
    """No order; equal as bytes are, to any buffer."""
    if itself and subject.model is not None:
        value = bytearray(subject.model)
    else:
        value = other.make() if hasattr(other, "make") else other

    def model(content):
        if name in ("lt", "ge"):
            raise TypeError
        try:
            return getattr(operator, name)(bytes(content), bytes(memoryview(value)))
        except TypeError:
            return name == "ne"

    if not (isinstance(value, memoryview) and value.format != "B"):
        subject.compare(name, lambda: getattr(operator, name)(subject.key, value), model)


@way(st.sampled_from(["repr", "str", "list", "bool", "hash", "iter", "int", "float", "format", "bytes", "sizeof"]))
def ask(subject, name):
    def model(content):
        if name == "hash":
            raise TypeError
        if name in ("repr", "str", "format"):
            return f"<SecureBytes {len(content)} bytes>"
        if name == "sizeof":
            return True
        return QUESTIONS[name](content)

    answer = outcome(QUESTIONS[name], subject.key)
    if subject.model is None:
        assert is_error(answer) or name in ("repr", "str", "format", "sizeof")
        return
    expected = outcome(model, bytes(subject.model) if name in ("int", "float") else subject.model)
    saw(name, kind(answer))
    assert answer == expected or (is_error(answer) and is_error(expected)), f"{name}: {answer!r:.50}"


QUESTIONS = {"repr": repr, "str": str, "list": list, "bool": bool, "hash": hash,
             "iter": lambda key: [*reversed(list(iter(key)))],
             "int": int, "float": float, "format": format, "bytes": bytes,
             "sizeof": lambda key: key.__sizeof__() >= 0}  # fmt: skip


@way(st.sampled_from(["base64", "urlsafe", "write_to", "file", "send", "copy", "deepcopy", "pickle", "closed"]))
def way_out(subject, name):
    """To where it is asked to go, whole; a pickle is no such place."""

    def theirs(content):
        if name == "pickle":
            raise TypeError
        if content is None:
            raise WipedError
        if name == "closed" and content:  # of nothing nothing is written
            raise OSError
        return {"base64": base64.b64encode, "urlsafe": base64.urlsafe_b64encode, "closed": lambda _: None}.get(
            name, bytes
        )(content)

    if subject.model is None or len(subject.model) <= 60_000:  # as much as a pipe and a socket hold
        alike(f"out {name}", lambda: OUT[name](subject.key), lambda: theirs(subject.model))


def through_a_pipe(write):
    reader, writer = os.pipe()
    try:
        write(writer)
    finally:
        os.close(writer)
        with open(reader, "rb") as file:
            answer = file.read()
    return answer


def through_a_socket(key):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        key.send(ours)
        ours.shutdown(socket.SHUT_WR)
        return SecureBytes.from_socket(theirs)


class HasFileno(NamedTuple):
    descriptor: int

    def fileno(self):
        return self.descriptor


OUT = {
    "base64": lambda key: key.base64(), "urlsafe": lambda key: key.base64(urlsafe=True), "send": through_a_socket,
    "write_to": lambda key: through_a_pipe(key.write_to), "closed": lambda key: key.write_to(-1),
    "file": lambda key: through_a_pipe(lambda descriptor: key.write_to(HasFileno(descriptor))),
    "copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": pickle.dumps,
}  # fmt: skip


@way()
def freeze(subject):
    if subject.model is None:
        assert outcome(subject.key.freeze) is WipedError
    else:
        subject.key.freeze()
        subject.model = bytes(subject.model)


@way(st.booleans(), SOME)
def wipe(subject, while_viewed, data):
    """All that comes after it is refused; a view that is out sees zeros."""
    if while_viewed and subject.model is not None:
        with memoryview(subject.key) as out:
            subject.key.wipe()
            assert bytes(out) == bytes(len(out))
    else:
        subject.key.wipe()
    subject.model = None
    assert outcome(lambda: subject.key.__setitem__(slice(0, 0), data)) is WipedError
    subject.key.wipe()


@given(CONTENT, st.booleans(), way.lists(8))
def check(content, frozen, steps):
    subject = Subject(content)
    if frozen:
        freeze(subject)
    for step in steps:
        way.go(step, subject)
        subject.check()
