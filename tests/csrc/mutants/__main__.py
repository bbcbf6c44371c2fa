"""Mutation tests: breaks the CUDA kernels, one mistake at a time; the tests must catch each. See --help."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.backends import ROOT, is_emulated

from .catalogue import MUTANTS
from .harness import Harness, HarnessError, Mutant, Verdict

# The device tests of each translation unit, for -k.
KEYWORDS = {
    "align": "align and not misaligned",
    "anchor_decode": "decode",
    "batched_nms": "nms",
    "letterbox": "letterbox",
    "deform_conv": "deform_conv or layouts",
    "plan": "deform_conv or layouts",
}


def main() -> int:
    """Judge the mutants; return 1 if the tests miss one."""
    parser = argparse.ArgumentParser(prog="python -m tests.csrc.mutants", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="mutants whose name contains this")
    parser.add_argument("--quick", action="store_true", help="only the first mutant of each kernel")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="mutants in parallel (default: %(default)s)"
    )
    parser.add_argument("--list", action="store_true", help="list the mutants, and check that they fit the sources")
    given = parser.parse_args()

    mutants = [mutant for mutant in MUTANTS if given.only in str(mutant)]
    if not mutants:
        raise HarnessError(f"no mutant's name contains {given.only!r}: see --list")
    for mutant in mutants:
        mutant.changed()
    if given.quick:
        mutants = list({mutant.kernel: mutant for mutant in reversed(mutants)}.values())[::-1]
    if given.list:
        print(*mutants, f"{len(mutants)} mutants", sep="\n")
        return 0
    if not is_emulated():
        raise HarnessError(
            "mutants run on the CUDA emulator: scripts/build-for-emulator VENV builds it, "
            "CUDA_VISIBLE_DEVICES= hides GPUs"
        )
    return judge(mutants, given.jobs)


def judge(mutants: list[Mutant], jobs: int) -> int:
    """Judge the mutants in parallel and print each verdict."""
    harness = Harness(ROOT / "build" / "mutants")
    survivors = []
    with ThreadPoolExecutor(jobs) as pool:
        for verdict in pool.map(lambda mutant: attempt(harness, mutant), mutants):
            print(
                f"{'caught' if verdict.caught else 'MISSED'}  {verdict.mutant}  [{verdict.seconds:.0f} s]", flush=True
            )
            print(f"        {verdict.how}", flush=True)
            if not verdict.caught:
                survivors.append(verdict.mutant)
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} mutants caught")
    if survivors:
        print("The tests miss:", *survivors, sep="\n  ")
    return 1 if survivors else 0


def attempt(harness: Harness, mutant: Mutant) -> Verdict:
    """Judge a mutant. One that cannot be judged counts as missed."""
    try:
        return harness.judge(mutant, arguments_for(mutant))
    except HarnessError as error:
        return Verdict(mutant, False, str(error), 0)


def arguments_for(mutant: Mutant) -> list[str]:
    """Return the pytest arguments that select the device tests of a mutant's unit."""
    folders = [str(Path("tests") / "csrc" / name) for name in ("launchers", "ops")]
    return [*folders, "-m", "gpu", "-k", KEYWORDS[mutant.unit]]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HarnessError as error:
        sys.exit(f"mutants: {error}")
