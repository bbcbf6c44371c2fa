"""The examples that need Ray."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from engine.rows import Detection
from tests.ray.results import BROKEN

pytestmark = pytest.mark.ray
EXAMPLES = Path(__file__).parents[2] / "examples"


def run(example: str, *arguments: object) -> str:
    """Run an example as a user does, with a cluster of its own."""
    command = [sys.executable, str(EXAMPLES / example), *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ray_folder(detection: Detection, photo: Path) -> None:
    (photo.parent / "broken.png").write_bytes(b"no picture")
    printed = run("ray_folder.py", detection.engine, photo.parent, photo.parent / "faces")
    first, found, broken = printed.splitlines()
    assert first == "1 faces in 2 pictures, 1 with an error; 1 parts, 0 of an earlier run"
    assert found.startswith("astronaut.png: [[1")
    assert broken.startswith("broken.png: ")
    assert BROKEN in broken


def test_ray_serve(detection: Detection, photo: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = run("ray_serve.py", detection.engine, photo, "--requests", 9, "--port", port).splitlines()
    assert lines[0].startswith('9 answers, 1 different: {"image_size":[512,512],"faces":[{"box":[1')
    assert lines[1].startswith("From another deployment: Detections(boxes=array([[1")


@pytest.mark.parametrize("example", ["ray_folder.py", "ray_serve.py"])
def test_examples_explain_their_options(example: str) -> None:
    assert "usage: " in run(example, "--help")
