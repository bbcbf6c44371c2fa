"""The CPU's INT8 is no farther from float32 than its Q/DQ graph is, evaluated exactly, by more than a tenth.

Exactly is ONNX Runtime without any optimisation. Two exact evaluations differ as well: where a sum lies between two
steps it goes either way, and so does all that follows. So faces are many, and where they are few the spread of the
differences is allowed for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.config.detection import InputSize, Thresholds
from engine.config.presets import preset
from engine.faces import Detections
from engine.metrics.matching import match_faces
from engine.pictures.compose import compose
from engine.pictures.faces import LabelledImage
from engine.precision import quantise
from engine.precision.convert import to_precision
from engine.precision.options import Conversion, QuantisationOptions
from engine.runtime.cpu.ort import OnnxRuntime
from engine.runtime.cpu.protocol import CpuSettings
from engine.runtime.cpu.session import CpuNetwork
from engine.runtime.letterbox import Letterbox
from engine.runtime.session import RuntimeOptions
from engine.runtime.timing import Stopwatch
from engine.types import Image
from tests.support.data import ASTRONAUT_FACE, astronaut, labelled_photos, mask_photos, read_image
from tests.support.engines import network

pytest.importorskip("openvino")

ROOT = Path(__file__).parents[2]
SIZE = (416, 416)
CONFIG = preset("mobilenet0.25")
MODES = {"default": None, "off": float("inf")}
A_TENTH = 1.1
MEASURES = ("1 - box IoU", "landmark error", "score change")


@pytest.fixture(scope="module")
def float32() -> bytes:
    """The float32 network."""
    return bytes(network("fp32", size=InputSize.fixed(*SIZE)).SerializeToString())


def _quantised(folder: Path, mode: str) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        # The choice of the kept convolutions is not tested here.
        patch.setattr(quantise, "_SENSITIVITY_CROPS", 2)
        options = QuantisationOptions(folder, max_loss=MODES[mode])
        typed = to_precision(Conversion(network("fp32", size=InputSize.fixed(*SIZE)), CONFIG, "int8", SIZE, options))
    return bytes(typed.on_cpu.SerializeToString())


@pytest.fixture(scope="module", params=MODES)
def composed_network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Calibrated on generated pictures."""
    folder = tmp_path_factory.mktemp("composed")
    for i, picture in enumerate(_composed(8, seed=5)):
        cv2.imwrite(str(folder / f"{i:02}.png"), picture)
    return _quantised(folder, request.param)


@pytest.fixture(scope="module", params=MODES)
def photo_network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Calibrated on photographs that no test judges by."""
    folder = tmp_path_factory.mktemp("photographs")
    for path in mask_photos("train")[:16]:
        (folder / path.name).symlink_to(path)
    return _quantised(folder, request.param)


def _composed(count: int, seed: int) -> list[Image]:
    source = LabelledImage(astronaut(), np.array([ASTRONAUT_FACE]))
    return [picture.image for picture in compose([source], (), count, SIZE, seed)]


def _variants(image: Image) -> list[Image]:
    """Four crops of an image and their mirror images: the same faces with other roundings."""
    parts = [image[shift:, shift:] for shift in (0, 4, 8, 13)]
    return [np.ascontiguousarray(image) for part in parts for image in (part, part[:, ::-1])]


class _Detector:
    """Faces of a network in a runtime."""

    def __init__(self, content: bytes, precision: str, library: str | None = None) -> None:
        self.network = CpuNetwork(content, CONFIG, Thresholds(), precision, RuntimeOptions(SIZE, threads=1), library)
        self._letterbox = Letterbox(SIZE, CONFIG, enlarge=False)

    @classmethod
    def exact(cls, content: bytes) -> _Detector:
        """Let ONNX Runtime evaluate it operator by operator."""
        detector = cls(content, "int8", "onnxruntime")
        settings = CpuSettings(tuple(CONFIG.head_names()), "int8", 1, SIZE, CONFIG.mean, CONFIG.std)
        detector.network._network = OnnxRuntime(content, settings, optimise=False)
        return detector

    def detect(self, image: Image) -> Detections:
        raw = self.network.detect([image], self._letterbox, Stopwatch())
        return self._letterbox.to_images(raw, [image], 0.02)[0]


def _errors(reference: Sequence[Detections], found: Sequence[Detections]) -> NDArray[np.float64]:
    """Sum of each of MEASURES over the faces of every image, [images, 3]."""
    rows = []
    for ours, theirs in zip(reference, found, strict=True):
        m = match_faces([ours], [theirs], score_threshold=0.5, match_iou=0.5)
        rows.append([(1 - m.iou).sum(), m.landmark_error.sum(), np.abs(m.score_change).sum()])
    return np.array(rows)


def _check(float32: bytes, content: bytes, images: Sequence[Image], *, least_faces: int, spreads: float) -> None:
    """Compare errors over all faces, allowing a tenth plus `spreads` standard errors of the difference."""
    plain, cpu, graph = _Detector(float32, "fp32"), _Detector(content, "int8"), _Detector.exact(content)
    reference = [plain.detect(image) for image in images]
    assert sum((faces.scores >= 0.5).sum() for faces in reference) >= least_faces
    ours, written = (_errors(reference, [d.detect(image) for image in images]) for d in (cpu, graph))
    too_much = ours - A_TENTH * written
    chance = spreads * too_much.std(axis=0) * np.sqrt(len(images))
    for name, excess, allowed, mine, graphs in zip(
        MEASURES, too_much.sum(0), chance, ours.sum(0), written.sum(0), strict=True
    ):
        assert excess <= allowed, f"{cpu.network.runtime}: {name} is {mine / graphs:.2f} times that of the graph"


def test_generated_pictures(float32: bytes, composed_network: bytes) -> None:
    _check(float32, composed_network, _composed(40, seed=99), least_faces=90, spreads=2)


def test_four_photos(float32: bytes, photo_network: bytes) -> None:
    images = [variant for photo in labelled_photos() for variant in _variants(photo.image)]
    _check(float32, photo_network, images, least_faces=140, spreads=2)


def test_200_photos(float32: bytes, photo_network: bytes) -> None:
    images = [read_image(path) for path in mask_photos("val")[:200]]
    assert len(images) == 200
    _check(float32, photo_network, images, least_faces=600, spreads=0)


@pytest.mark.parametrize("isa", ["AVX2", "AVX512_CORE_VNNI"])
def test_on_a_processor_with_less(float32: bytes, composed_network: bytes, isa: str, tmp_path: Path) -> None:
    """Without VNNI, sums of products exceed 16 bits."""
    files = {"float32": float32, "int8": composed_network}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    program = f"""
from pathlib import Path
from tests.integration.test_cpu_quantised import _check, _composed
networks = [(Path({str(tmp_path)!r}) / name).read_bytes() for name in {list(files)}]
_check(*networks, _composed(24, seed=99), least_faces=50, spreads=2)
"""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": isa}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    # The session's warning, on stderr as no handler is set.
    if isa == "AVX2":
        assert "Running it with OpenVINO" in done.stderr
    elif "avx512_vnni" in Path("/proc/cpuinfo").read_text():
        assert "Running it with" not in done.stderr
