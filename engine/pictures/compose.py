"""Test pictures made on the fly: faces cut from photos, at known places and of known sizes.

Labelled photos are few, and small faces fewer. A composed picture holds faces from 8 to 400 pixels, as many of each
octave, on backgrounds that hold none, and its boxes are known exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.pictures.backgrounds import crop, texture
from engine.pictures.faces import LEAST_SIZE, CutFace, LabelledImage, cut_faces, feather, intersection, resized
from engine.runtime.letterbox import MAX_IMAGE_SIDE, check_image
from engine.types import FloatArray, Image

FACE_SIZES = (8.0, 400.0)
MAX_ENLARGEMENT = 4.0
"""A cut face is enlarged no further where a larger one can be had: blown-up faces are no test of large ones."""

_TRIES = 50
_LARGEST_SHARE = 0.8
_COVERED = 0.05  # of a face's area may lie under the surroundings of another


@dataclass(frozen=True)
class ComposedImage:
    """A generated picture.

    Attributes:
        image: uint8 [H, W, 3], BGR.
        boxes: float32 [N, 4], x1 y1 x2 y2 in pixels, inside the image; at least one.
    """

    image: Image
    boxes: FloatArray


def compose(
    sources: Iterable[LabelledImage],
    backgrounds: Sequence[Image] = (),
    count: int = 100,
    size: tuple[int, int] = (640, 640),
    seed: int = 0,
    *,
    face_sizes: tuple[float, float] = FACE_SIZES,
    max_faces: int = 8,
) -> Iterator[ComposedImage]:
    """Make pictures with known faces, one at a time.

    Equal arguments give equal pictures, and picture i depends on the seed and on i only, not on `count`.

    Args:
        sources: photos with the boxes of all their faces; only what is cut from them stays in memory.
        backgrounds: pictures without faces, taken from the sequence one at a time; if it is empty, textures are drawn.
        count: of pictures.
        size: (height, width) of each.
        seed: 0 or more.
        face_sizes: smallest and largest face (square root of its area) in pixels, drawn log-uniformly; the largest
            is at most 0.8 of the picture's shorter side.
        max_faces: a picture has 1 to this many.

    Raises:
        InvalidArgumentError: an argument is out of range, or no face can be cut from the sources.
    """
    _check(count, size, seed, face_sizes, max_faces)
    faces = _all_faces(sources)
    face_sizes = (face_sizes[0], min(face_sizes[1], _LARGEST_SHARE * min(size)))
    return (
        _compose_one(faces, backgrounds, size, np.random.default_rng([seed, index]), face_sizes, max_faces)
        for index in range(count)
    )


def _compose_one(
    faces: Sequence[CutFace],
    backgrounds: Sequence[Image],
    size: tuple[int, int],
    rng: np.random.Generator,
    face_sizes: tuple[float, float],
    max_faces: int,
) -> ComposedImage:
    if len(backgrounds):
        chosen = int(rng.integers(len(backgrounds)))
        canvas = crop(check_image(backgrounds[chosen], f"backgrounds[{chosen}]"), size, rng)
    else:
        canvas = texture(size, rng)
    # The largest first, while there is room for it.
    low, high = np.log(face_sizes)
    targets = np.exp(rng.uniform(low, high, size=int(rng.integers(1, max_faces + 1))))
    boxes: list[NDArray[np.float64]] = []
    for target in np.sort(targets)[::-1]:
        face = _at_size(faces, float(target), size, face_sizes, rng)
        place = _free_place(face, boxes, size, rng)
        if place is not None:
            _paste(canvas, _varied(face, rng), place)
            boxes.append(face.box + place * 2)
    return ComposedImage(canvas, np.array(boxes, np.float32))


def _at_size(
    faces: Sequence[CutFace],
    target: float,
    size: tuple[int, int],
    limits: tuple[float, float],
    rng: np.random.Generator,
) -> CutFace:
    """Choose a face and bring it to a size in pixels, or, a long one, to what fits into the picture."""
    large = [face for face in faces if face.size * MAX_ENLARGEMENT >= target]
    chosen = large[int(rng.integers(len(large)))] if large else max(faces, key=lambda face: face.size)
    sides = chosen.box[2:] - chosen.box[:2]
    scale = min(target / chosen.size, (size[1] - 2) / sides[0], (size[0] - 2) / sides[1])
    height, width = chosen.image.shape[:2]
    mirrored = bool(rng.random() < 0.5)
    # Sides are whole pixels, and rounding must not push the face out of the range of sizes.
    for round_ in (round, math.ceil, math.floor):
        face = resized(chosen, (max(round_(height * scale), 1), max(round_(width * scale), 1)), mirrored=mirrored)
        if limits[0] <= face.size <= limits[1]:
            break
    return face
    return face


def _free_place(
    face: CutFace, boxes: Sequence[NDArray[np.float64]], size: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int] | None:
    """Return where (x, y) the cut goes so that the face is in the picture and its surroundings hide no other face."""
    low, high = np.ceil(-face.box[:2]), np.floor((size[1], size[0]) - face.box[2:])
    height, width = face.image.shape[:2]
    if (low > high).any():
        return None
    for _ in range(_TRIES):
        x, y = (int(rng.integers(a, b + 1)) for a, b in zip(low, high, strict=True))
        region = np.array([x, y, x + width, y + height])
        if all(intersection(region, other) <= _COVERED * min(_area(face.box), _area(other)) for other in boxes):
            return x, y
    return None


def _area(box: NDArray[np.float64]) -> float:
    return float((box[2:] - box[:2]).prod())


def _varied(face: CutFace, rng: np.random.Generator) -> CutFace:
    """Change brightness and contrast."""
    contrast, brightness = rng.uniform(0.75, 1.25), rng.uniform(-20, 20)
    pixels = (face.image.astype(np.float32) - 128) * contrast + 128 + brightness
    return CutFace(np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8), face.box)


def _paste(canvas: Image, face: CutFace, place: tuple[int, int]) -> None:
    """Blend a cut into the picture; what lies outside it is left out."""
    x, y = place
    height, width = face.image.shape[:2]
    top, left = max(-y, 0), max(-x, 0)
    bottom, right = min(canvas.shape[0] - y, height), min(canvas.shape[1] - x, width)
    under = canvas[y + top : y + bottom, x + left : x + right]
    opacity = feather(face)[top:bottom, left:right, None]
    blended = under + opacity * (face.image[top:bottom, left:right].astype(np.float32) - under)
    under[...] = np.rint(blended).astype(np.uint8)


def _all_faces(sources: Iterable[LabelledImage]) -> list[CutFace]:
    faces: list[CutFace] = []
    photos = 0
    for index, source in enumerate(sources):
        name = f"sources[{index}]"
        boxes = np.asarray(source.boxes)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
            raise InvalidArgumentError(f"{name}: boxes have shape {boxes.shape}, expected finite numbers [N, 4]")
        photos += 1
        faces += cut_faces(LabelledImage(check_image(source.image, name), boxes))
    if not faces:
        raise InvalidArgumentError(
            f"no face can be cut from {photos} photos: it needs a labelled face of {LEAST_SIZE:g} pixels or more "
            "that no other labelled face touches"
        )
    return faces


def _check(count: int, size: tuple[int, int], seed: int, face_sizes: tuple[float, float], max_faces: int) -> None:
    for name, value, least in (("count", count, 0), ("seed", seed, 0), ("max_faces", max_faces, 1)):
        if not isinstance(value, int) or value < least:
            raise InvalidArgumentError(f"{name} is {value!r}, expected an integer of {least} or more")
    low, high = face_sizes
    if not 4 <= low < high < math.inf:
        raise InvalidArgumentError(f"face_sizes is {face_sizes}, expected (smallest, largest), at least 4 pixels")
    if len(size) != 2 or min(size) * _LARGEST_SHARE <= low or max(size) > MAX_IMAGE_SIDE:
        raise InvalidArgumentError(
            f"size is {size}, expected (height, width), each above {low / _LARGEST_SHARE:g}, where a face of "
            f"{low:g} pixels has room, and up to {MAX_IMAGE_SIDE}"
        )
