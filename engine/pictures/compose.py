"""Composes labelled test pictures: faces cut from photos, pasted at random places and sizes.

Labelled photos are few, and small faces in them are fewer. A composed picture has faces from 8 to 400 pixels,
uniformly over the octaves, on a background without faces, and their exact boxes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.inputs import as_image
from engine.pictures.backgrounds import crop, texture
from engine.pictures.faces import LEAST_SIZE, CutFace, LabelledImage, cut_faces, feather, intersection, resized
from engine.types import FloatArray, Image
from engine.untrusted.limits import MAX_IMAGE_SIDE

FACE_SIZES = (8.0, 400.0)
MAX_ENLARGEMENT = 4.0
"""A cut face is enlarged no further if a larger one is available: a blurred face is no test of a large one."""

_TRIES = 50
_LARGEST_SHARE = 0.8
_COVERED = 0.05  # share of a face's area that another face's surroundings may hide


@dataclass(frozen=True)
class FaceLimits:
    """How many faces a picture gets, and of which sizes.

    Attributes:
        face_sizes: smallest and largest face (square root of its area) in pixels, drawn log-uniformly. The largest is
            at most 0.8 of the picture's shorter side.
        max_faces: a picture has 1 to this many.
    """

    face_sizes: tuple[float, float] = FACE_SIZES
    max_faces: int = 8

    def check(self, size: tuple[int, int]) -> None:
        """Raise InvalidArgumentError for impossible limits, or for pictures (height, width) without room for them."""
        _check_integer("max_faces", self.max_faces, 1)
        low, high = self.face_sizes
        if not 4 <= low < high < math.inf:
            raise InvalidArgumentError(
                f"face_sizes is {self.face_sizes}, expected (smallest, largest), at least 4 pixels"
            )
        if len(size) != 2 or min(size) * _LARGEST_SHARE <= low or max(size) > MAX_IMAGE_SIDE:
            raise InvalidArgumentError(
                f"size is {size}, expected (height, width), each above {low / _LARGEST_SHARE:g}, where a face of "
                f"{low:g} pixels has room, and up to {MAX_IMAGE_SIDE}"
            )


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
    limits: FaceLimits = FaceLimits(),
) -> Iterator[ComposedImage]:
    """Compose pictures with labelled faces, one at a time.

    Equal arguments give equal pictures. Picture i depends on the seed and on i, but not on `count`.

    Args:
        sources: photos with the boxes of all their faces; only the cut faces stay in memory.
        backgrounds: pictures without faces, read one at a time; if there are none, textures are drawn.
        count: number of pictures.
        size: (height, width) of each picture.
        seed: 0 or more.
        limits: number and sizes of the faces in a picture.

    Raises:
        InvalidArgumentError: an argument is out of range, or no face can be cut from the sources.
    """
    _check_integer("count", count, 0)
    _check_integer("seed", seed, 0)
    limits.check(size)
    faces = _all_faces(sources)
    low, high = limits.face_sizes
    limits = replace(limits, face_sizes=(low, min(high, _LARGEST_SHARE * min(size))))
    return (
        _compose_one(faces, backgrounds, size, limits, np.random.default_rng([seed, index])) for index in range(count)
    )


def _compose_one(
    faces: Sequence[CutFace],
    backgrounds: Sequence[Image],
    size: tuple[int, int],
    limits: FaceLimits,
    rng: np.random.Generator,
) -> ComposedImage:
    if len(backgrounds):
        chosen = int(rng.integers(len(backgrounds)))
        canvas = crop(as_image(backgrounds[chosen], f"backgrounds[{chosen}]"), size, rng)
    else:
        canvas = texture(size, rng)
    # The largest first, while there is room for it.
    low, high = np.log(limits.face_sizes)
    targets = np.exp(rng.uniform(low, high, size=int(rng.integers(1, limits.max_faces + 1))))
    boxes: list[NDArray[np.float64]] = []
    for target in np.sort(targets)[::-1]:
        face = _at_size(faces, float(target), size, limits.face_sizes, rng)
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
    """Choose a face and resize it to `target` pixels, or to less if it would not fit into the picture."""
    large = [face for face in faces if face.size * MAX_ENLARGEMENT >= target]
    chosen = large[int(rng.integers(len(large)))] if large else max(faces, key=lambda face: face.size)
    sides = chosen.box[2:] - chosen.box[:2]
    scale = min(target / chosen.size, (size[1] - 2) / sides[0], (size[0] - 2) / sides[1])
    height, width = chosen.image.shape[:2]
    mirrored = bool(rng.random() < 0.5)
    # Sides are whole pixels. Rounding them must not bring the face outside the limits.
    for round_ in (round, math.ceil, math.floor):
        face = resized(chosen, (max(round_(height * scale), 1), max(round_(width * scale), 1)), mirrored=mirrored)
        if limits[0] <= face.size <= limits[1]:
            break
    return face


def _free_place(
    face: CutFace, boxes: Sequence[NDArray[np.float64]], size: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int] | None:
    """Return (x, y) of the cut such that its face is inside the picture and hides no other; None if none is found."""
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
    """Change brightness and contrast at random."""
    contrast, brightness = rng.uniform(0.75, 1.25), rng.uniform(-20, 20)
    pixels = (face.image.astype(np.float32) - 128) * contrast + 128 + brightness
    return CutFace(np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8), face.box)


def _paste(canvas: Image, face: CutFace, place: tuple[int, int]) -> None:
    """Blend a cut face into the picture, clipped at its edges."""
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
        faces += cut_faces(LabelledImage(as_image(source.image, name), boxes))
    if not faces:
        raise InvalidArgumentError(
            f"no face can be cut from {photos} photos: it needs a labelled face of {LEAST_SIZE:g} pixels or more "
            "that no other labelled face touches"
        )
    return faces


def _check_integer(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise InvalidArgumentError(f"{name} is {value!r}, expected an integer of {least} or more")
