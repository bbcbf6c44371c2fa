"""A few seconds of every target, with inputs that nobody has seen yet."""

from __future__ import annotations

import secrets

import pytest

from tests.fuzz.report import summary
from tests.fuzz.targets import available
from tests.fuzz.watch import Watch


@pytest.mark.slow
def test_hostile_inputs_are_accepted_or_refused() -> None:
    """A failure prints the commands that repeat it; make fuzz goes on for longer."""
    seed = secrets.randbelow(1 << 32)
    print(f"python -m tests.fuzz --seed {seed}")
    tallies = Watch().fuzz(available(), seed, seconds=20, workers=1)
    print(summary(tallies, seed))
    assert not any(tally.findings for tally in tallies)
    # Each target goes on behind the first checks.
    assert all(min(tally.accepted, tally.refused) > 0 for tally in tallies)
