"""The fuzzer passes over its corpus, finds what is broken on purpose, and tells it so that it can be had again."""
import math
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import behaviour, corpora, engine, mutation
from fuzz.journal import Journal
from fuzz.target import NAMES

import secalloc
import secalloc.numpy as snp
from secalloc import kdf
from secalloc_ext import api

FUZZ = Path(__file__).with_name("fuzz")
CORPUS_BYTES_MAX = 300 << 10
NOT_FUZZED = {
    "from_prompt": "a typist's: test_prompt.py",
    "wipe_on_signal": "about signals: test_emergency.py",
    "enable_guard_report": "about faults: test_guard_report.py",
    "harden_process": "closes the process that fuzzes: test_harden.py",
    "layout": "no argument: test_layout.py",
    "secalloc_protect": "what it may be called with is the caller's to know: test_guarded.py",
}


def fuzz(*arguments):
    command = [sys.executable, "-P", FUZZ, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", cwd="/", check=False)


def control(name, *arguments):
    """Run a target that is broken, for so many examples."""
    limits = ("--seconds", 60, "--examples", 2_000, "--findings", 1, "--seed", 1)
    return fuzz("--target", f"controls.{name}", *limits, *arguments)


def counts(done):
    """Examples, valid ones, behaviours and findings, of a run of one target."""
    return [int(number) for number in re.findall(r" (\d+) ", done.stdout.splitlines()[1])]


def again(done):
    """What the first finding says to run, without Python."""
    return re.search(r"^again: python tests/fuzz (.*)$", done.stdout, re.M)[1].split()


# --- the corpus ---


@pytest.mark.parametrize("name", NAMES)
def test_the_inputs_in_the_repository_show_no_difference(name):
    done = fuzz("--target", name, "--seconds", 0)
    assert done.returncode == 0, done.stdout + done.stderr
    examples, valid, behaviours, findings = counts(done)
    assert examples == len(corpora.load(name)) > 0
    assert findings == 0
    assert valid > 0
    assert behaviours > 10


def test_the_corpus_is_small_and_of_the_targets_there_are():
    files = [path for path in corpora.CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == set(NAMES)
    assert sum(path.stat().st_size for path in files) < CORPUS_BYTES_MAX


def test_of_inputs_those_are_kept_that_show_most_and_of_these_the_shortest():
    entries = [(b"long", {1, 2}), (b"a", {1}), (b"b", {1}), (b"cd", {2, 3}), (b"ef", {2, 3}), (b"longest", {3, 4, 5})]
    assert corpora.chosen(entries) == [b"longest", b"long"]
    assert corpora.chosen([(b"", set())]) == []
    assert len(corpora.chosen([(bytes(1_000), {i}) for i in range(100)])) == 24
    assert len(corpora.chosen([(b"", {i}) for i in range(1_000)])) == 100


def test_growing_keeps_what_showed_something_new(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "CORPUS", tmp_path)
    corpora.store("some", [b"old"])
    corpora.store("some", [b"new", b""])
    assert corpora.load("some") == [b"", b"new"]
    assert len(list((tmp_path / "some").iterdir())) == 2


# --- every entry ---


def test_every_public_name_is_somebody_s_target():
    text = "\n".join(path.read_text() for path in (FUZZ / "targets").glob("*.py"))
    text += Path(__file__).with_name("test_securebytes_methods.py").read_text()  # whose table the target `methods` uses
    text += Path(__file__).with_name("support").joinpath("capi.py").read_text()
    names = {name for each in (secalloc.SecureBytes, secalloc.Heap) for name in dir(each) if not name.startswith("_")}
    names |= {name for name in secalloc.__all__ if not isinstance(getattr(secalloc, name), type)}
    names |= {*snp.__all__, *kdf.__all__, *api.__pyx_capi__}
    known = {name for name in names if re.search(rf"\b{name.removeprefix('secalloc_')}\b", text)}
    assert names - known - set(NOT_FUZZED) == set()
    assert set(NOT_FUZZED) - names == set()


# --- positive controls ---


def test_a_method_that_is_one_off_is_found_with_the_arguments_that_show_it():
    done = control("finds_one_off")
    assert done.returncode == 1
    assert "AssertionError: find answered something else" in done.stdout, done.stdout
    assert re.search(r"\('method', \('find', ", done.stdout)
    assert counts(done)[0] < 2_000
    found = fuzz(*again(done))
    assert found.returncode == 1
    assert "find answered something else" in found.stderr


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("frees_twice", "died of SIGABRT"), ("faults", "died of SIGSEGV"), ("exits", "ended with 0 within an example"),
        ("hangs", "hang: an example took more than 1 s"), ("forgets", "AssertionError: something is left in a heap"),
    ],
)  # fmt: skip
def test_what_ends_the_process_is_told_with_the_input_that_did_it(name, told):
    done = control(name, "--seconds-each", 1)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"FOUND in controls.{name}: {told}" in done.stdout
    data = engine.from_text(again(done)[-1])
    assert {*b"zZ"} <= {*data}
    assert len(data) == 2 or name in ("hangs", "exits")  # of these no other input is tried
    assert name != "frees_twice" or "secalloc: double free" in done.stdout
    replayed = fuzz("--seconds-each", 1, *again(done))
    assert (replayed.returncode in (0, 2)) == (name == "exits")
    assert "it was taken" not in replayed.stdout


def test_a_target_that_is_sound_is_told_to_be_so():
    done = control("is_sound", "--examples", 500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert counts(done)[0] == 500
    assert counts(done)[2] > 200  # letters
    assert done.stdout.splitlines()[-1].startswith("fuzz: 500 examples of 1 targets")


class Recorder:
    """A target that takes any input as it is, and keeps it."""

    raw, tokens = True, ()

    def __init__(self):
        self.inputs = []

    def run(self, data):
        self.inputs.append(data)
        behaviour.forget()
        behaviour.saw(data[:1])
        return data


def test_the_same_seed_makes_the_same_inputs(tmp_path):
    def inputs(seed):
        recorder = Recorder()
        engine.Fuzzer(recorder, Journal(tmp_path / "journal"), seed).run([b"first"], math.inf, 500, 1)
        return recorder.inputs

    assert inputs(5) == inputs(5) != inputs(6)
    assert inputs(5)[0] == b"first"
    assert len({*inputs(5)}) > 450


def test_an_unknown_target_is_an_error():
    done = fuzz("--target", "no_such")
    assert done.returncode not in (0, 1) or "No module named" in done.stderr
    assert "findings" not in done.stdout


# --- inputs ---


def test_an_input_is_made_smaller_as_far_as_it_shows_the_same():
    data = os.urandom(300) + b"x" + os.urandom(300) + b"y"
    assert mutation.smaller(data, lambda each: b"x" in each and each.endswith(b"y"), 10_000) == b"xy"
    tried = []
    mutation.smaller(data, lambda each: tried.append(each), 7)
    assert len(tried) == 7


def test_a_mutation_is_another_input_and_no_longer_than_there_is_room():
    mutator = mutation.Mutator(random.Random(1), [b"token"])
    made = {mutator.mutate(b"some input", b"another one") for _ in range(500)}
    assert len(made) > 400
    assert any(b"token" in each for each in made)
    assert all(len(mutator.mutate(bytes(60_000), bytes(60_000))) <= 32_768 for _ in range(20))


def test_an_input_is_text_and_back():
    for data in (b"", b"\x00\xff", bytes(10_000), os.urandom(500)):
        assert engine.from_text(engine.as_text(data)) == data
