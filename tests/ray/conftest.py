"""A cluster of two processes, and pictures."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine import TRTRetinaFace
from engine.rows import Detection
from tests.support.data import astronaut

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# The modules import Ray, which is in an environment of its own.
collect_ignore_glob = [] if importlib.util.find_spec("ray") else ["test_*.py"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """A cluster with two processors, so that two actors of one processor work at a time."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().wait_for_min_actors_s = 60  # else the first actor may do all the work
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def detection(request: pytest.FixtureRequest) -> Detection:
    """The engine, with a thread for each detector."""
    return Detection(request.config.getoption("--ray"), "cpu", threads=1)


@pytest.fixture(scope="session")
def alone(detection: Detection) -> TRTRetinaFace:
    """The same engine, called directly."""
    return detection.open()


@pytest.fixture(scope="session")
def own(request: pytest.FixtureRequest) -> Detection:
    """The engine of tests.ray.own_engine, with meshes; a threshold that leaves some pictures without faces."""
    engine = request.config.getoption("--ray").with_name("own.engine")
    return Detection(engine, "cpu", score_threshold=0.94, threads=1, meshes=True)


@pytest.fixture(scope="session")
def own_alone(own: Detection) -> TRTRetinaFace:
    """The same engine, called directly."""
    return own.open()


@pytest.fixture(scope="session")
def pictures() -> dict[str, bytes]:
    """Picture files by name, of different sizes and formats, with and without faces; and one that is none."""
    photo = astronaut()
    files = {"broken.jpg": b"\xff\xd8 no picture"}
    for i in range(21):
        image = photo[i : 400 - 3 * i, 7 * i :: 1 + i % 2] if i % 5 else np.full((40 + i, 90, 3), i, np.uint8)
        suffix = (".png", ".jpg", ".webp", ".bmp")[i % 4]
        name = f"{'sub/' if i % 3 == 0 else ''}{(i * 8) % 21:02d}{suffix}"
        files[name] = cv2.imencode(suffix, np.ascontiguousarray(image))[1].tobytes()
    return files


@pytest.fixture(scope="session")
def folder(pictures: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, content in pictures.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
