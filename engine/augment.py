"""Test-time augmentation: one image at several scales and mirrored, its faces merged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine import ops
from engine.errors import InvalidArgumentError
from engine.types import Detections, Image

# The short side in pixels; or that and a limit of the long side, which then wins; or the image as it is.
Scale = float | tuple[float, float] | Literal["original"]

MAX_MERGED = 5000  # candidates that ops.nms takes
_MIRRORED_POINTS = [1, 0, 2, 4, 3]


@dataclass(frozen=True)
class Augmentation:
    """What to look at, and how to merge what is found.

    Attributes:
        scales: see Scale; None is the detector's usual letterbox.
        flip: also look at each mirrored.
        voting: make the box of a face the mean, weighted by score, of the boxes that it suppresses and its own.
    """

    scales: tuple[Scale, ...] | None
    flip: bool
    voting: bool

    def __post_init__(self) -> None:
        """Refuse impossible scales."""
        if self.scales is not None and not self.scales:
            raise InvalidArgumentError("scales is empty, expected at least one scale, or None")
        for scale in self.scales or ():
            sides = scale if isinstance(scale, tuple) else (scale, scale)
            if scale != "original" and not (len(sides) == 2 and all(_is_length(s) for s in sides)):
                raise InvalidArgumentError(
                    f"scales has {scale!r}, expected the short side in pixels (above 0), or a pair of it and a limit "
                    "of the long side, or 'original'"
                )

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to merge: one look at the image, in the usual letterbox."""
        return self.scales is None and not self.flip


def make_augmentation(scales: Sequence[Scale] | None, flip: bool, voting: bool) -> Augmentation:
    """Return a checked Augmentation; InvalidArgumentError says what is wrong."""
    if scales is not None and (isinstance(scales, str) or not isinstance(scales, Sequence | np.ndarray)):
        raise InvalidArgumentError(f"scales is {scales!r}, expected a list of scales, or None")
    return Augmentation(None if scales is None else tuple(scales), flip, voting)


def scaled_size(height: int, width: int, scale: Scale) -> tuple[int, int]:
    """Height and width of an image at a scale, whole pixels."""
    if isinstance(scale, str):
        return height, width
    short, longest = scale if isinstance(scale, tuple) else (scale, math.inf)
    factor = min(short / min(height, width), longest / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def looks(image: Image, augmentation: Augmentation, check_size: Callable[[int, int], object]) -> Iterator[list[Image]]:
    """Yield, per scale, the image at that scale and, if asked for, its mirror image.

    Args:
        image: uint8 [H, W, 3].
        augmentation: what to look at.
        check_size: called with height and width before an image is made, to refuse what is too large.
    """
    import cv2

    for scale in augmentation.scales or ("original",):
        height, width = scaled_size(image.shape[0], image.shape[1], scale)
        if augmentation.scales is not None:
            check_size(height, width)
        # Bilinear, as the public test codes resize.
        same = (height, width) == image.shape[:2]
        resized = image if same else np.asarray(cv2.resize(image, (width, height)), np.uint8)
        yield [resized, np.ascontiguousarray(resized[:, ::-1])] if augmentation.flip else [resized]


def to_image(faces: Sequence[Detections], looked_at: Image, image: Image) -> list[Detections]:
    """Lead the faces of an item of `looks`, given in its own pixels, back to the image's pixels."""
    height, width = looked_at.shape[:2]
    factor = np.array([image.shape[1] / width, image.shape[0] / height], np.float32)
    upright = [faces[0], *(_mirrored(mirror_image, width) for mirror_image in faces[1:])]
    return [
        Detections(
            (found.boxes.reshape(-1, 2, 2) * factor).reshape(-1, 4),
            found.scores,
            None if found.landmarks is None else found.landmarks * factor,
        )
        for found in upright
    ]


def merge(found: Sequence[Detections], *, iou_threshold: float, max_detections: int, voting: bool) -> Detections:
    """Return the faces of several looks at one image, each once: the best of those that overlap."""
    scores = np.concatenate([faces.scores for faces in found])
    order = np.argsort(-scores, kind="stable")[:MAX_MERGED]
    scores, boxes = scores[order], np.concatenate([faces.boxes for faces in found])[order]
    known = [faces.landmarks for faces in found if faces.landmarks is not None]  # of all looks, or of none
    landmarks = np.concatenate(known)[order] if known else None
    if not len(order):
        return Detections(boxes, scores, landmarks)
    merged = ops.nms(
        boxes[None],
        scores[None],
        None if landmarks is None else landmarks.reshape(1, -1, 10),
        np.array([len(order)], np.int32),
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        voting=voting,
    )
    count = int(merged.num_detections[0])
    points = None if merged.landmarks is None else merged.landmarks[0, :count].reshape(-1, 5, 2)
    return Detections(merged.boxes[0, :count], merged.scores[0, :count], points)


def _mirrored(faces: Detections, width: int) -> Detections:
    """Return the faces in the mirror image; what was on the left is on the right, landmarks too."""
    boxes = faces.boxes[:, [2, 1, 0, 3]]
    boxes[:, [0, 2]] = width - boxes[:, [0, 2]]
    landmarks = faces.landmarks
    if landmarks is not None:
        landmarks = landmarks[:, _MIRRORED_POINTS]
        landmarks[..., 0] = width - landmarks[..., 0]
    return Detections(boxes, faces.scores, landmarks)


def _is_length(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and bool(0 < value < math.inf)
