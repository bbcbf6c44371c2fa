"""A service that tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from engine import TRTRetinaFace
from tests.integration.serve.service import Served, serving
from tests.support.data import picture_files


@pytest.fixture(scope="session")
def served(fp32_engine: Path) -> Iterator[Served]:
    """A service with the usual options, but for smaller limits."""
    with serving(fp32_engine, "--max-images", "4", "--max-megapixels", "4", "--timeout", "10") as service:
        yield service


@pytest.fixture(scope="session")
def client(served: Served) -> Iterator[httpx.Client]:
    """A connection to it."""
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def alone(fp32_engine: Path) -> TRTRetinaFace:
    """The same engine, called directly."""
    return TRTRetinaFace(fp32_engine, "cpu:onnxruntime")


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    """Files of different sizes and formats, with and without faces."""
    return picture_files()
