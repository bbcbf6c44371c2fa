"""Raw candidates: the boxes of a network before suppression, stored so that many settings can be tried on them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config.detection import MAX_CANDIDATES, Thresholds
from engine.errors import EvaluationError, InvalidArgumentError
from engine.faces import Detections
from engine.files import sha256_of_file
from engine.images import read_image
from engine.inputs import as_image
from engine.runtime.device import open_session
from engine.runtime.letterbox import Letterbox
from engine.runtime.session import RuntimeOptions
from engine.runtime.timing import Stopwatch
from engine.sidecar import EngineFiles, read_engine
from engine.types import FloatArray
from engine.untrusted.archives import read_arrays
from engine.writing import write_file


@dataclass(frozen=True)
class Candidates:
    """An engine's candidates in a set of images, before suppression.

    Attributes:
        boxes: by the image's name, float32 [N, 4] in the image's pixels, best first.
        scores: by the image's name, float32 [N], descending.
        image_sha256: of each image's file, by its name.
        engine_sha256: of the engine.
        score_threshold: all scores are above it.
        enlarge: whether images smaller than the input were enlarged.
    """

    boxes: dict[str, FloatArray]
    scores: dict[str, FloatArray]
    image_sha256: dict[str, str]
    engine_sha256: str
    score_threshold: float
    enlarge: bool

    def save(self, path: Path) -> None:
        """Write an .npz file atomically."""
        content = io.BytesIO()
        np.savez_compressed(
            content,
            names=np.array(list(self.boxes)),
            counts=np.array([len(scores) for scores in self.scores.values()]),
            boxes=np.concatenate(list(self.boxes.values())),
            scores=np.concatenate(list(self.scores.values())),
            image_sha256=np.array([self.image_sha256[name] for name in self.boxes]),
            engine_sha256=np.array(self.engine_sha256),
            score_threshold=np.array(self.score_threshold),
            enlarge=np.array(self.enlarge),
        )
        write_file(path, content.getvalue())

    @classmethod
    def load(cls, path: Path) -> Candidates:
        """Read a file that save wrote; raise EvaluationError for any other."""
        try:
            arrays = read_arrays(path)
            _check_stored(arrays)
            names, ends = arrays["names"].tolist(), arrays["counts"].cumsum()[:-1]
            boxes, scores = (np.split(arrays[key], ends) for key in ("boxes", "scores"))
            return cls(
                dict(zip(names, boxes, strict=True)),
                dict(zip(names, scores, strict=True)),
                dict(zip(names, arrays["image_sha256"].tolist(), strict=True)),
                *(arrays[key].item() for key in ("engine_sha256", "score_threshold", "enlarge")),
            )
        except Exception as error:  # NumPy's readers raise many types of exceptions for damaged files
            raise EvaluationError(
                f"{path} does not hold stored candidates ({error!s:.200}): remove it and rerun"
            ) from error


# The arrays of a stored file and their dtypes, without the byte order.
_DTYPES = {
    "names": "U",
    "counts": "i8",
    "boxes": "f4",
    "scores": "f4",
    "image_sha256": "U",
    "engine_sha256": "U",
    "score_threshold": "f8",
    "enlarge": "b1",
}


def _check_stored(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise ValueError unless the arrays of a file are consistent."""
    for name, dtype in _DTYPES.items():
        if not arrays[name].dtype.str[1:].startswith(dtype):
            raise ValueError(f"{name} has dtype {arrays[name].dtype}")
    counts = arrays["counts"]
    total = int(counts.sum())
    shapes = {"names": counts.shape, "image_sha256": counts.shape, "boxes": (total, 4), "scores": (total,)}
    for name, shape in {**shapes, "engine_sha256": (), "score_threshold": (), "enlarge": ()}.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}, expected {shape}")
    if counts.ndim != 1 or counts.min(initial=0) < 0 or len(set(arrays["names"].tolist())) < len(counts):
        raise ValueError("the counts of its images are wrong")
    if not all(np.isfinite(arrays[name]).all() for name in ("boxes", "scores", "score_threshold")):
        raise ValueError("a value is not finite")
    image = np.repeat(np.arange(len(counts)), counts)
    if ((np.diff(arrays["scores"]) > 0) & (np.diff(image) == 0)).any():
        raise ValueError("its scores do not descend")


def collect(
    engine: Path,
    images: Mapping[str, Path],
    *,
    device: str = "auto",
    trust_embedded_plugins: bool = False,
    enlarge: bool = False,
    on_image: Callable[[], None] = lambda: None,
) -> Candidates:
    """Run an engine's network over images, and keep the candidates above its score threshold, at most 5000 per image.

    Args:
        engine: path of NAME.engine.
        images: files by name.
        device: see TRTRetinaFace. A GPU runs the engine as it was built, so it must be one that suppresses nothing;
            on the CPU suppression is turned off.
        trust_embedded_plugins: see TRTRetinaFace.
        enlarge: see TRTRetinaFace.
        on_image: called after each image.

    Raises:
        EvaluationError: a picture cannot be read.
        InvalidArgumentError: the engine suppresses candidates on the GPU.
    """
    files = read_engine(engine)
    session, _ = open_session(
        _without_suppression(files), device, RuntimeOptions(trust_embedded_plugins=trust_embedded_plugins)
    )
    if session.device != "cpu":
        _check_unsuppressed(files)
    letterbox = Letterbox(files.sidecar.io.input.size.optimum, files.sidecar.config, enlarge)
    threshold = files.sidecar.thresholds.score
    found: dict[str, Detections] = {}
    digests: dict[str, str] = {}
    for name, path in images.items():
        try:
            image = [as_image(read_image(path), "it")]
        except InvalidArgumentError as error:
            raise EvaluationError(f"{path} {error}") from error
        found[name] = letterbox.to_images(session.detect(image, letterbox, Stopwatch()), image, threshold)[0]
        digests[name] = sha256_of_file(path)
        on_image()
    return Candidates(
        {name: faces.boxes for name, faces in found.items()},
        {name: faces.scores for name, faces in found.items()},
        digests,
        files.sidecar.files.engine.sha256,
        threshold,
        enlarge,
    )


def _without_suppression(files: EngineFiles) -> EngineFiles:
    score = files.sidecar.thresholds.score
    thresholds = Thresholds(score, iou=1.0, top_k=MAX_CANDIDATES, max_detections=MAX_CANDIDATES)
    return replace(files, sidecar=replace(files.sidecar, thresholds=thresholds))


def _check_unsuppressed(files: EngineFiles) -> None:
    thresholds = files.sidecar.thresholds
    if thresholds.iou < 1 or thresholds.max_detections < thresholds.top_k:
        raise InvalidArgumentError(
            f"{files.path} suppresses candidates on the GPU, which the sweep has to do itself. Use --device cpu, or "
            f"build an engine that does not: {files.sidecar.rebuild_command(files.path)} --iou-threshold 1 "
            f"--top-k {MAX_CANDIDATES} --max-detections {MAX_CANDIDATES}"
        )
