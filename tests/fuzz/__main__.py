"""Tries hostile inputs on everything that reads what comes from outside, and on the operators.

Every input is made from the seed, the name of its target and a number. Exit status 1 if there are findings; the input
of each lies in build/fuzz, and the command that repeats it is printed.
"""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.fuzz.report import document, summary
from tests.fuzz.targets import TARGETS, available
from tests.fuzz.watch import HarnessError, Tally, Watch
from tests.fuzz.worker import Task


def main() -> int:
    """Run, print what was found, and return 1 if that is anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of all targets together (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="of all inputs (default: a new one, which is printed)")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be given several times")
    parser.add_argument("--index", type=int, help="try only the input of this number, of the one --target")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time (default: %(default)s)")
    parser.add_argument("--document", action="store_true", help="write the table to docs/security.md")
    given = parser.parse_args()
    if given.index is not None and (given.seed is None or len(given.target or []) != 1):
        parser.error("--index needs --seed and one --target")
    seed = secrets.randbelow(1 << 32) if given.seed is None else given.seed
    names = given.target or available()
    for name in TARGETS.keys() - set(names) if not given.target else ():
        if TARGETS[name].sanitized:
            print(f"Left out: {name}, as build/sanitize-address is not built: scripts/sanitize .venv build")
    print(f"Seed {seed}: python -m tests.fuzz --seed {seed} --seconds {given.seconds:g}", flush=True)
    tallies = _try(names, seed, given)
    print(summary(tallies, seed))
    if given.document:
        document(tallies, f"python -m tests.fuzz --seed {seed} --seconds {given.seconds:g} --workers {given.workers}")
    return 1 if any(tally.faulty for tally in tallies) else 0


def _try(names: list[str], seed: int, given: argparse.Namespace) -> list[Tally]:
    if given.index is not None:
        return [Watch().try_inputs(Task(names[0], seed, given.seconds, given.index, most=1))]
    return Watch().fuzz(names, seed, given.seconds, given.workers)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HarnessError as error:
        sys.exit(f"fuzz: {error}")
