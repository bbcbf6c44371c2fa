"""One line to start: an engine from the name of weights, in processes of their own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine import TRTRetinaFace
from engine.errors import InvalidArgumentError
from tests.support.data import astronaut
from tests.support.engines import rtx

_PROGRAM = """
import json, sys
import cv2
from engine import TRTRetinaFace
detector = TRTRetinaFace("mobilenet0.25", device="cpu:onnxruntime", precision="fp32", input_size=(320, 320))
faces = detector.detect(cv2.imread(sys.argv[1]))
print(json.dumps({"boxes": faces.boxes.tolist(), "torch": "torch" in sys.modules}))
"""


def first_face(cache: Path, photo: Path) -> tuple[dict[str, Any], str]:
    """Run the program; return what it printed, with the seconds of a core that it took, and what it said on stderr."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "RETINAFACE_TRT_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, photo], env=environment, capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(done.stdout), "seconds": seconds}, done.stderr


def test_the_first_process_builds_and_the_second_finds(tmp_path: Path) -> None:
    rtx()
    cv2.imwrite(str(tmp_path / "photo.png"), astronaut())
    built, progress = first_face(tmp_path / "cache", tmp_path / "photo.png")
    assert "Compiling with" in progress
    assert built["torch"]
    found, progress = first_face(tmp_path / "cache", tmp_path / "photo.png")
    assert progress == ""
    assert not found["torch"]  # which takes a second to import
    assert found["boxes"] == built["boxes"]
    np.testing.assert_equal(np.shape(found["boxes"]), (1, 4))
    # What users are promised, with nothing else on the machine: here in seconds of a core.
    assert built["seconds"] < 60
    assert found["seconds"] < 1.5


@pytest.mark.parametrize("option", ["config", "precision"])
def test_an_engine_has_its_own_settings(option: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{option} is 'fp32', but the engine .* was built with its own"):
        TRTRetinaFace("faces.engine", **{option: "fp32"})  # type: ignore[arg-type]
