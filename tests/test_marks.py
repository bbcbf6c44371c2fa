"""The mark gpu, which tests get by the fixtures that they use."""

from __future__ import annotations

import pytest

from tests.csrc.plugins.conftest import any_library, library
from tests.csrc.plugins.driver import Library
from tests.support.backends import Backend

__all__ = ["any_library", "library"]  # fixtures


def is_for_gpu(request: pytest.FixtureRequest) -> bool:
    """Return whether the test has the mark gpu."""
    return request.node.get_closest_marker("gpu") is not None


def test_cuda(request: pytest.FixtureRequest, cuda: Backend) -> None:
    assert is_for_gpu(request)


def test_library(request: pytest.FixtureRequest, library: Library) -> None:
    assert is_for_gpu(request)


def test_any_library(request: pytest.FixtureRequest, any_library: Library) -> None:
    assert is_for_gpu(request)


def test_the_half_of_a_backend_that_is_cuda(request: pytest.FixtureRequest, backend: Backend) -> None:
    assert is_for_gpu(request) == (backend.name == "cuda")


@pytest.mark.parametrize("library", ["openvino"])
def test_a_parameter_with_the_name_of_a_fixture_is_none(request: pytest.FixtureRequest, library: str) -> None:
    assert not is_for_gpu(request)
