"""Fuzzes every public entry beside what must answer the same: `python tests/fuzz [--seconds N] [--target NAME] ...`.

Each target takes its turn, in a process of its own: first its corpus, then inputs made of that. An exception, a death
and a hang are findings, told with an input that shows them again:

    python tests/fuzz --replay TARGET INPUT

Prints what each target did, and exits with 0 if nothing was found, with 1 if something was. `--grow` puts inputs that
showed something new into the corpus, and takes out those that show nothing of their own.
"""
import argparse
import json
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fuzz import corpora, process
from fuzz.engine import Fuzzer, as_text, from_text
from fuzz.journal import Journal
from fuzz.reducing import reduced
from fuzz.target import NAMES, Target

MANY = 10**12


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets in all; 60, nightly 600")
    parser.add_argument("--examples", type=int, default=MANY, help="at most so many of each target")
    parser.add_argument("--target", action="append", metavar="NAME", help=f"only this; of {', '.join(NAMES)}")
    parser.add_argument("--findings", type=int, default=3, help="at most so many of each target")
    parser.add_argument("--seed", type=int, help="for the same inputs again; else another each time")
    parser.add_argument("--seconds-each", type=float, default=20, help="an example that takes longer is a finding")
    parser.add_argument("--grow", action="store_true", help="store the corpus anew")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "INPUT"), help="run one input, as a finding tells it")
    parser.add_argument("--reduce", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def child(setting):
    """Fuzz one target in this process, whose folder is the current one."""
    fuzzer = Fuzzer(Target(setting.name, setting.each), Journal("journal"), setting.seed)
    fuzzer.run(corpora.load(setting.name), setting.until, setting.examples, setting.findings)
    if setting.grow:
        fuzzer.grow()
    findings = tuple(fuzzer.findings.values())
    process.report(process.Outcome(fuzzer.examples, fuzzer.valid, len(fuzzer.behaviours), findings))


def replay(name, text, seconds):
    """Run one input in this process; answers the exit status."""
    target = Target(name, seconds)
    try:
        used = target.run(from_text(text))
    except Exception as error:
        traceback.print_exception(target.smallest_failure() or error, chain=False)
        return 1
    print("it was taken" if used is not None else "it is no valid input any more")
    return 0


def tell(name, outcome):
    print(f"{name:13} {outcome.examples:7} examples, {outcome.valid:7} of them valid, "
          f"{outcome.behaviours:5} behaviours, {len(outcome.findings)} findings", flush=True)  # fmt: skip
    for found in outcome.findings:
        print(f"\nFOUND in {name}: {found.error}\n{found.told}")
        if found.again:
            print(f"again: python tests/fuzz --replay {name} {found.again}\n", flush=True)


def round_of(given):
    """All targets in turn; answers the exit status."""
    began = time.monotonic()
    names = given.target or list(NAMES)
    seed = given.seed if given.seed is not None else time.time_ns() % 2**32
    print(f"fuzz: {len(names)} targets for {given.seconds:g} s, --seed {seed}", flush=True)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for i, name in enumerate(names):
            until = began + given.seconds * (i + 1) / len(names)
            setting = process.Setting(name, until, given.examples, seed, given.seconds_each, given.findings, given.grow)
            outcomes.append(process.fuzz(setting, folder))
            tell(name, outcomes[-1])
    found = sum(len(outcome.findings) for outcome in outcomes)
    print(f"fuzz: {sum(outcome.examples for outcome in outcomes)} examples of {len(names)} targets, "
          f"{sum(outcome.behaviours for outcome in outcomes)} behaviours, {found} findings "
          f"in {time.monotonic() - began:.0f} s")  # fmt: skip
    return 1 if found else 0


def main():
    given = options()
    if given.child:
        child(process.Setting(*json.loads(given.child)))
        return 0
    if given.reduce:
        name, text, status = given.reduce
        data = reduced(Target(name, given.seconds_each), from_text(text), int(status))
        Path("reduced").write_text(as_text(data))
        return 0
    if given.replay:
        return replay(*given.replay, given.seconds_each)
    return round_of(given)


if __name__ == "__main__":
    sys.exit(main())
