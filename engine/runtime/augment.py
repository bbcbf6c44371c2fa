"""Test-time augmentation: the faces of an image at several scales and mirrored, merged by NMS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine import ops
from engine.config.detection import MAX_CANDIDATES, Thresholds
from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.faces import Detections, joined, replaced
from engine.text import represented
from engine.types import FloatArray, Image

# The short side in pixels; or (short side, limit of the long side), where the limit wins; or the size of the image.
Scale = float | tuple[float, float] | Literal["original"]
# As callers may give them: lists and arrays are taken for tuples.
Scales = Sequence[Scale | Sequence[float]] | NDArray[Any]

_LONGEST = 1_000_000  # pixels: far beyond any engine


@dataclass(frozen=True)
class Augmentation:
    """The views of an image to detect in, and how to merge their faces.

    Attributes:
        scales: see Scale; None is the usual letterbox of the detector.
        flip: also detect in the mirror image of each view.
        voting: replace a box by the mean, weighted by score, of itself and the boxes that it suppresses.
        merge_iou: IoU threshold of the NMS over all views; None is that of the engine.
    """

    scales: tuple[Scale, ...] | None
    flip: bool
    voting: bool
    merge_iou: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether there is a single view, the usual letterbox, and nothing to merge."""
        return self.scales is None and not self.flip


def make_augmentation(scales: Scales | None, flip: bool, voting: bool, merge_iou: float | None = None) -> Augmentation:
    """Return a checked Augmentation; InvalidArgumentError says what is wrong."""
    if merge_iou is not None and not (_is_number(merge_iou) and 0 <= merge_iou <= 1):
        raise InvalidArgumentError(f"merge_iou is {represented(merge_iou)}, expected 0 to 1, or None")
    if scales is None:
        return Augmentation(None, flip, voting, merge_iou)
    if not _is_list(scales):
        raise InvalidArgumentError(f"scales is {represented(scales)}, expected a list of scales, or None")
    if not len(scales):
        raise InvalidArgumentError("scales is empty, expected at least one scale, or None")
    return Augmentation(tuple(map(_checked_scale, scales)), flip, voting, merge_iou)


def _checked_scale(scale: Any) -> Scale:
    if isinstance(scale, str) and scale == "original":
        return "original"
    if _is_length(scale):
        return float(scale)
    if _is_list(scale) and len(scale) == 2 and all(map(_is_length, scale)):
        return float(scale[0]), float(scale[1])
    raise InvalidArgumentError(
        f"scales has {represented(scale)}, expected the short side in pixels (above 0, up to {_LONGEST}), or a pair "
        "(short side, limit of the long side), or 'original'"
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _is_length(value: Any) -> bool:
    return _is_number(value) and bool(0 < value <= _LONGEST)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def detect_views(
    image: Image,
    augmentation: Augmentation,
    network_size: Callable[[int, int], tuple[int, int]],
    run: Callable[[list[Image], tuple[int, int] | None], list[Detections]],
    config: RetinaFaceConfig,
    thresholds: Thresholds,
) -> Detections:
    """Detect in all views of an image and merge the faces.

    Args:
        image: uint8 [H, W, 3].
        augmentation: says which views.
        network_size: returns the input size that holds an unscaled image of a height and a width, or refuses.
        run: finds the faces of images of one size with that input size; None is the usual letterbox.
        config: of the model.
        thresholds: of the engine.

    Raises:
        InvalidArgumentError: a scale is impossible or too large for the engine; or mirror images are asked for, but the
            model has plain values, of which nothing says what they are in a mirror.
    """
    plain = ", ".join(head.name for head in config.values if not head.is_points)
    if augmentation.flip and plain:
        raise InvalidArgumentError(f"flip is on, but nothing says what {plain} of {config.name} are in a mirror image")
    found: list[Detections] = []
    for images in views(image, augmentation, network_size):
        size = None if augmentation.scales is None else network_size(*images[0].shape[:2])
        found += to_image(run(images, size), images[0], image, config)
    return merge(
        found,
        iou_threshold=thresholds.iou if augmentation.merge_iou is None else augmentation.merge_iou,
        max_detections=thresholds.max_detections,
        voting=augmentation.voting,
        class_agnostic=config.class_agnostic,
    )


def scaled_size(height: int, width: int, scale: Scale) -> tuple[int, int]:
    """Return the (height, width) of an image at a scale, in whole pixels."""
    if isinstance(scale, str):
        return height, width
    short, longest = scale if isinstance(scale, tuple) else (scale, math.inf)
    factor = min(short / min(height, width), longest / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def views(image: Image, augmentation: Augmentation, check_size: Callable[[int, int], object]) -> Iterator[list[Image]]:
    """Yield, per scale, the resized image and, with `flip`, its mirror image.

    Args:
        image: uint8 [H, W, 3].
        augmentation: scales and flip.
        check_size: called with height and width before an image is resized, to refuse sizes that are too large.
    """
    import cv2

    for scale in augmentation.scales or ("original",):
        height, width = scaled_size(image.shape[0], image.shape[1], scale)
        if augmentation.scales is not None:
            check_size(height, width)
        # Bilinear, as in the published evaluation scripts.
        same = (height, width) == image.shape[:2]
        resized = image if same else np.asarray(cv2.resize(image, (width, height)), np.uint8)
        yield [resized, np.ascontiguousarray(resized[:, ::-1])] if augmentation.flip else [resized]


def to_image(faces: Sequence[Detections], view: Image, image: Image, config: RetinaFaceConfig) -> list[Detections]:
    """Map the faces of an item of views from pixels of the view to pixels of the image.

    Args:
        faces: of the view, and of its mirror image if there is one.
        view: uint8 [h, w, 3].
        image: uint8 [H, W, 3].
        config: of the model: which points change places in a mirror, and which values are points.
    """
    height, width = view.shape[:2]
    factor = np.array([image.shape[1] / width, image.shape[0] / height], np.float32)
    upright = [faces[0], *(_mirrored(mirror_image, width, config) for mirror_image in faces[1:])]
    return [
        replaced(
            found,
            boxes=(found.boxes.reshape(-1, 2, 2) * factor).reshape(-1, 4),
            landmarks=None if found.landmarks is None else found.landmarks * factor,
            values=_with_places(found, config, lambda points: points * factor),
            vertices=None if found.vertices is None else found.vertices * np.append(factor, factor.mean()),
            image_size=(image.shape[0], image.shape[1]),
        )
        for found in upright
    ]


def merge(
    found: Sequence[Detections], *, iou_threshold: float, max_detections: int, voting: bool, class_agnostic: bool
) -> Detections:
    """Return the faces of several views of one image, each once: the best of those that overlap."""
    together = joined(found)
    best = together[np.argsort(-together.scores, kind="stable")[:MAX_CANDIDATES]]
    if not len(best):
        return best
    merged = ops.nms(
        best.boxes[None],
        best.scores[None],
        None,
        np.array([len(best)], np.int32),
        None if best.classes is None else best.classes[None],
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        voting=voting,
        class_agnostic=class_agnostic,
    )
    count = int(merged.num_detections[0])
    kept = best[merged.indices[0, :count]]
    return replaced(kept, boxes=merged.boxes[0, :count])


def _with_places(
    faces: Detections, config: RetinaFaceConfig, mapped: Callable[[FloatArray], FloatArray]
) -> dict[str, FloatArray]:
    """Return values of which those that are points, given as [N, D / 2, 2], are mapped."""
    places = {head.name: faces.values[head.name] for head in config.values if head.is_points}
    moved = {name: mapped(own.reshape(len(own), own.shape[1] // 2, 2)) for name, own in places.items()}
    return {**faces.values, **{name: points.reshape(places[name].shape) for name, points in moved.items()}}


def _mirrored(faces: Detections, width: int, config: RetinaFaceConfig) -> Detections:
    """Mirror faces in an image of this width: landmarks change places, points of values do not."""

    def in_mirror(points: FloatArray) -> FloatArray:
        mirrored = points.copy()
        mirrored[..., 0] = width - mirrored[..., 0]
        return mirrored

    boxes = faces.boxes[:, [2, 1, 0, 3]]
    boxes[:, [0, 2]] = width - boxes[:, [0, 2]]
    landmarks = faces.landmarks
    if landmarks is not None:
        landmarks = in_mirror(landmarks[:, config.mirrored_points])
    values = _with_places(faces, config, in_mirror)
    return replaced(faces, boxes=boxes, landmarks=landmarks, values=values)
