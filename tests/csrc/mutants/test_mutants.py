"""The catalogue of mutants, without running any."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.csrc.mutants.catalogue import MUTANTS
from tests.csrc.mutants.harness import HarnessError, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_mutants_fit_the_sources(mutant: Mutant) -> None:
    """What they replace is there, once."""
    assert mutant.new in mutant.changed()


def test_a_mutant_that_does_not_fit_is_an_error() -> None:
    """Rather than a mutant that changes nothing."""
    with pytest.raises(HarnessError, match="its text occurs 0 times"):
        Mutant("kernel", "letterbox", "ops/cuda/letterbox/letterbox.cu", "mistake", "no such text", "").changed()


def test_every_kernel_is_broken_in_five_ways_at_least() -> None:
    """And no two have the same name."""
    assert min(Counter(mutant.kernel for mutant in MUTANTS).values()) >= 5
    assert len(set(map(str, MUTANTS))) == len(MUTANTS)
