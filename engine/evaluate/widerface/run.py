"""Runs a detector over WIDER FACE by a scale rule; a run that was interrupted continues."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.detector import TRTRetinaFace
from engine.errors import EvaluationError, InvalidArgumentError
from engine.evaluate.widerface.files import prediction_path, write_predictions
from engine.images import read_eighth, read_image
from engine.runtime.augment import Scale
from engine.untrusted.files import read_file
from engine.untrusted.json_text import parse_json
from engine.untrusted.limits import MAX_TEXT_BYTES
from engine.writing import check_writable, write_file

IMAGE_FOLDERS = ("", "images", "WIDER_val/images")
SCORE_THRESHOLD = 0.02  # average precision needs low scores


@dataclass(frozen=True)
class ScaleRule:
    """The sizes at which the network sees the images.

    Attributes:
        scales: see engine.runtime.augment.Scale.
        longest: the longest side that results; None if the images decide.
        augmented: whether to add mirrored views and box voting.
        merge_iou: IoU threshold of the suppression over all views; None for the engine's own.
        summary: the rule in words.
    """

    scales: tuple[Scale, ...]
    longest: int | None
    augmented: bool
    merge_iou: float | None
    summary: str


# The pairs of short and long side are those of insightface's and Pytorch_Retinaface's test code: (1200, 1600) is
# insightface's first setting, (1600, 2150) is what both run in the end, and in the pyramid the long side is at most 1.5
# times the short one. The pyramid's short sides, mirrored views and voting at IoU 0.4 are the paper's.
SCALE_RULES = {
    "original": ScaleRule(("original",), None, False, None, "unchanged"),
    "mxnet": ScaleRule(((1200, 1600),), 1600, False, None, "short side 1200, but no side above 1600"),
    "mxnet-1600": ScaleRule(((1600, 2150),), 2150, False, None, "short side 1600, but no side above 2150"),
    "vga": ScaleRule(((640, 640),), 640, False, None, "long side 640"),
    "multiscale": ScaleRule(
        ((500, 750), (800, 1200), (1100, 1650), (1400, 2100), (1700, 2550)),
        2550,
        True,
        0.4,
        "short sides 500, 800, 1100, 1400 and 1700, mirrored too, boxes voted on",
    ),
}


def scale_rule(name: str) -> ScaleRule:
    """Return the rule called `name`; InvalidArgumentError lists the names there are."""
    try:
        return SCALE_RULES[name]
    except KeyError:
        raise InvalidArgumentError(f"unknown scale rule {name!r}, expected one of: {', '.join(SCALE_RULES)}") from None


def present_names(root: Path, names: Sequence[str]) -> set[str]:
    """Return which of the images are there; see find_images."""
    folder = _images_folder(root, names)
    return {name for name in names if (folder / f"{name}.jpg").is_file()}


def find_images(root: Path, names: Sequence[str]) -> list[Path]:
    """Return the image files EVENT/IMAGE.jpg, in `root` or in the images folder of the data set's archive.

    Raises:
        EvaluationError: the folder or an image is missing.
    """
    folder = _images_folder(root, names)
    paths = [folder / f"{name}.jpg" for name in names]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise EvaluationError(f"{len(missing)} of {len(paths)} images are missing, the first is {missing[0]}")
    return paths


def _images_folder(root: Path, names: Sequence[str]) -> Path:
    if not root.is_dir():
        raise EvaluationError(f"{root} is not a folder; WIDER FACE's images lie in EVENT/IMAGE.jpg there")
    folders = [root / folder for folder in IMAGE_FOLDERS]
    return next((f for f in folders if any((f / f"{name}.jpg").is_file() for name in names)), root)


def check_input_range(detector: TRTRetinaFace, rule: ScaleRule, images: Iterable[Path]) -> None:
    """Refuse an engine whose input is too small for an image, before any image is run.

    Raises:
        InvalidArgumentError: the engine takes no input that large; the message has the command to build one that does.
        EvaluationError: an image cannot be read.
    """
    needed = (rule.longest, rule.longest) if rule.longest else _largest(images)
    detector.network_size(*needed)


def _largest(images: Iterable[Path]) -> tuple[int, int]:
    """Return the largest height and the largest width, rounded up to multiples of 8."""
    sides = []
    for path in images:
        try:
            sides.append(read_eighth(path).shape[:2])
        except InvalidArgumentError as error:
            raise EvaluationError(f"{path} {error}") from error
    height, width = np.max(sides, axis=0) * 8
    return int(height), int(width)


def predict(
    detector: TRTRetinaFace,
    images: Sequence[Path],
    names: Sequence[str],
    folder: Path,
    *,
    rule_name: str,
    on_image: Callable[[], None] = lambda: None,
) -> int:
    """Write the predictions for each image to `folder`, except those that the same run has already written.

    Args:
        detector: to run, with its own score threshold.
        images: the image files.
        names: EVENT/IMAGE of each image.
        folder: see engine.evaluate.widerface.files. The run's settings are written beside it, to FOLDER.run.json: other
            tools take everything inside the folder for events.
        rule_name: one of SCALE_RULES.
        on_image: called after each image.

    Returns:
        The number of images that were run.

    Raises:
        InvalidArgumentError: the rule is unknown, or the folder cannot be written to.
        EvaluationError: the folder has predictions of another run, or an image cannot be read.
    """
    rule = scale_rule(rule_name)
    _claim(folder, names, _run_of(detector, rule_name))
    count = 0
    for path, name in zip(images, names, strict=True):
        if not prediction_path(folder, name).is_file():
            try:
                faces = detector.detect(
                    read_image(path),
                    scales=rule.scales,
                    flip=rule.augmented,
                    voting=rule.augmented,
                    merge_iou=rule.merge_iou,
                )
            except InvalidArgumentError as error:
                raise EvaluationError(f"{path}: {error}") from error
            write_predictions(folder, name, faces)
            count += 1
        on_image()
    return count


def run_path(folder: Path) -> Path:
    """Return the path of the settings that made the predictions in `folder`."""
    folder = folder.resolve()
    return folder.with_name(f"{folder.name}.run.json")


def _run_of(detector: TRTRetinaFace, rule_name: str) -> dict[str, object]:
    return {
        "engine_sha256": detector.sidecar.files.engine.sha256,
        "scale_rule": rule_name,
        "score_threshold": detector.score_threshold,
    }


def _claim(folder: Path, names: Sequence[str], run: dict[str, object]) -> None:
    """Mark the folder as this run's; raise EvaluationError if it is another run's."""
    remedy = "Choose another folder, or remove it to start again"
    path = run_path(folder)
    if path.is_file():
        try:
            before = parse_json(read_file(path, MAX_TEXT_BYTES))
            if not isinstance(before, dict):
                raise ValueError("it is no JSON object")
        except (OSError, ValueError) as error:
            raise EvaluationError(f"{path} cannot be read: {error}. {remedy}, with {folder}") from error
        differences = [f"{key} {before.get(key)!r:.80}, now {run[key]!r}" for key in run if before.get(key) != run[key]]
        if differences:
            raise EvaluationError(
                f"{folder} holds predictions of another run: {'; '.join(differences)}. {remedy}, with {path}"
            )
        return
    if any(prediction_path(folder, name).exists() for name in names):
        raise EvaluationError(f"{folder} holds predictions, but their settings, {path}, are missing. {remedy}")
    try:
        check_writable(folder)
        write_file(path, (json.dumps(run, indent=2) + "\n").encode())
    except OSError as error:
        raise InvalidArgumentError(f"cannot write to the folder {folder}: {error.strerror}") from error
