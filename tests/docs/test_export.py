"""docs/export.md: its blocks run as they stand, without this package, and find the engine's faces."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.detector import TRTRetinaFace
from tests.docs.pages import ROOT, blocks
from tests.support.data import astronaut
from tests.support.engines import build

SIZE = (400, 900)  # height and width: scaled, and padded above and below
PRINT = """
import sys
assert not any(name == "engine" or name.startswith("engine.") for name in sys.modules)
assert count == best.sum() + (scores[:count] <= 0.5).sum()
np.savez("found.npz", boxes=boxes, scores=scores[best], landmarks=landmarks)
"""


@pytest.mark.slow
def test_a_photo_becomes_faces(tmp_path: Path) -> None:
    shell, program = blocks(ROOT / "docs" / "export.md")
    assert (shell.language, program.language) == ("sh", "python")
    assert len(program.text.splitlines()) <= 20
    canvas = np.zeros((*SIZE, 3), np.uint8)
    canvas[:, 200:600] = astronaut()[:400, 60:460]
    cv2.imwrite(str(tmp_path / "photo.png"), canvas)
    (tmp_path / "photo.png").rename(tmp_path / "photo.jpg")  # not compressed
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in (["bash", "-ec", shell.text], [sys.executable, "-c", program.text + PRINT]):
        environment = {**os.environ, "PATH": path}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        boxes, scores, landmarks = (found[name] for name in ("boxes", "scores", "landmarks"))

    build(tmp_path / "faces.engine", precision="fp32", size=None)
    faces = TRTRetinaFace(tmp_path / "faces.engine", "cpu:onnxruntime").detect(canvas)
    assert len(faces) == 1
    assert faces.landmarks is not None
    # OpenCV's resize differs from the letterbox by up to one grey level.
    np.testing.assert_allclose(scores, faces.scores, atol=0.01)
    np.testing.assert_allclose(boxes, faces.boxes, atol=1)
    np.testing.assert_allclose(landmarks, faces.landmarks, atol=1)
