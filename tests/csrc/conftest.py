"""The seed of the operators' random tests."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """That of --kernel-seed, else of --seed."""
    given: int | None = pytestconfig.getoption("--kernel-seed")
    return int(pytestconfig.getoption("--seed")) if given is None else given


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """A random generator, a new one for every test."""
    return np.random.default_rng(seed)
