"""The catalogue of mutants; runs none of them."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.csrc.mutants.catalogue import MUTANTS
from tests.csrc.mutants.harness import HarnessError, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_mutants_fit_the_sources(mutant: Mutant) -> None:
    """The text that each replaces occurs once."""
    assert mutant.new in mutant.changed()


def test_a_mutant_that_does_not_fit_is_an_error() -> None:
    """A mutant that changes nothing would always be missed."""
    with pytest.raises(HarnessError, match="its text occurs 0 times"):
        Mutant("kernel", "letterbox", "ops/cuda/letterbox/letterbox.cu", "mistake", "no such text", "").changed()


def test_every_kernel_has_at_least_five_mutants() -> None:
    """Names are unique."""
    assert min(Counter(mutant.kernel for mutant in MUTANTS).values()) >= 5
    assert len(set(map(str, MUTANTS))) == len(MUTANTS)
