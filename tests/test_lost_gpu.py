"""What a test process does once a kernel's fault has made the GPU unusable to it."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from engine import ops
from engine.errors import CudaError
from tests.support.backends import leave_lost_gpu


def _fail_with(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    """Make CUDA calls fail on what seems to be a GPU."""

    def to_device(array: object) -> NoReturn:
        raise CudaError(f"allocating device memory failed: {name}", name, code)

    monkeypatch.setattr(ops, "cuda_device_count", lambda: 1)
    monkeypatch.setattr(ops, "to_device", to_device)


def test_a_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    _fail_with(monkeypatch, "cudaErrorIllegalAddress", 700)
    with pytest.raises(pytest.exit.Exception, match=r"lost to this process: .*cudaErrorIllegalAddress"):
        leave_lost_gpu()


def test_a_worker_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses: list[int] = []
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    monkeypatch.setattr(os, "_exit", statuses.append)
    _fail_with(monkeypatch, "cudaErrorIllegalAddress", 700)
    with pytest.raises(pytest.exit.Exception):  # this one does not end
        leave_lost_gpu()
    assert statuses == [1]


def test_a_full_gpu_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, "cudaErrorMemoryAllocation", 2)
    leave_lost_gpu()
