"""Faces cut out of images: turned upright by their landmarks for recognition, or as their boxes are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import ops
from engine.errors import InvalidArgumentError
from engine.faces.detections import Detections
from engine.types import AnyImage, FloatArray, Image
from engine.untrusted.limits import MAX_IMAGE_SIDE

# ArcFace's landmarks in 112 x 112 pixels: arcface_src, later arcface_dst, of insightface
# (python-package/insightface/utils/face_align.py). The crop of 112 x 96 of SphereFace and of ArcFace's first release
# leaves out 8 pixels at the left and at the right.
_ARCFACE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))


def align(
    image: AnyImage | Sequence[AnyImage],
    faces: Detections | Sequence[Detections],
    size: int | tuple[int, int] = 112,
    template: str | Sequence[Sequence[float]] | NDArray[Any] = "arcface",
    *,
    threads: int = 0,
    stream: object = None,
) -> Any:
    """Cut out faces, each turned, scaled and moved so that its five landmarks lie where a template has them.

    The crops are what models for face recognition expect. The transform is the similarity with the least sum of squared
    distances to the template (Umeyama 1991; no reflection), sampling is bilinear, and beyond the image is 0: what
    insightface's norm_crop does with cv2.warpAffine, whose pixels differ by one grey level at most.

    Args:
        image: the image that the faces were found in: uint8 [H, W, 3], a NumPy array, or one in CUDA memory (torch,
            CuPy, PyCUDA, ...). Or a list of such images; all their faces are cut out together.
        faces: the faces of the image, with landmarks, or a list with those of each image.
        size: of a crop in pixels, 1 to 4096: (height, width), or the side of a square.
        template: five points (x, y) in pixels of a crop of `size`, in the order of Detections.landmarks; whole numbers
            are centres of pixels. "arcface" is ArcFace's, for squares and for sizes with the proportions of 112 x 96.
            It is scaled as insightface does: from 112 pixels, or if a square's side is a multiple of 128 but not of
            112, from a crop of 128 with 8 more pixels at the left and the right of the template.
        threads: of the host, at most; 0 is one per core.
        stream: for images in CUDA memory: an integer handle, or a stream object of torch, CuPy, PyCUDA or CUDA Python;
            None is the stream of the first image if it names one, else the default stream.

    Returns:
        uint8 [N, height, width, 3]: the faces of the first image, then those of the next. A NumPy array; or for images
        in CUDA memory an array there, which torch and others take through DLPack or __cuda_array_interface__, and
        `numpy()` copies to the host. It is filled in `stream`, and the images must not change before.
        A face whose pixels would be less than 2^-20 or more than 2^14 pixels of the image apart has a black crop.

    Raises:
        InvalidArgumentError: an argument is of a wrong type or out of range, the faces have no landmarks, or those of a
            face are not finite or coincide.
        CudaError: a CUDA call failed.
    """
    single = isinstance(faces, Detections)
    per_image = _each([faces] if single else faces)
    images: Any = [image] if single else image
    landmarks = [_landmarks(one, "faces" if single else f"faces[{i}]") for i, one in enumerate(per_image)]
    if not single and (not hasattr(images, "__len__") or len(images) != len(per_image)):
        count = f"{len(images)} images" if hasattr(images, "__len__") else f"a {type(image).__name__}"
        raise InvalidArgumentError(f"image is {count}, expected a list of {len(per_image)}: one for each of faces")
    indices = np.repeat(np.arange(len(landmarks), dtype=np.int32), [len(points) for points in landmarks])
    points = np.concatenate([np.zeros((0, 10), np.float32), *landmarks])
    height, width = _sides(size)
    wanted = _template(template, height, width) if isinstance(template, str) else template
    dense = [_dense(one) for one in images]
    aligned = ops.align(dense, points, indices, template=wanted, size=(height, width), threads=threads, stream=stream)
    return aligned.crops


def crop(
    image: Image, faces: Detections, margin: float = 0.25, *, square: bool = False, pad: bool = False
) -> list[Image]:
    """Cut out the box of each face, with a margin.

    Args:
        image: uint8 [H, W, 3], the image that the faces were found in.
        faces: the faces.
        margin: on each side, as a fraction of the box's width and height; 0 to 1000.
        square: extend the shorter sides, evenly, to the length of the longer ones.
        pad: fill what is beyond the image with 0. Else a crop ends where the image does, and so may not be a square; a
            box beside the image has the pixel nearest to it.

    Returns:
        uint8 [h, w, 3] for each face, as copies: all pixels that the box and its margin touch.

    Raises:
        InvalidArgumentError: an argument is of a wrong type or out of range, a box is not finite, or a crop with
            padding would have sides of more than 16384 pixels.
    """
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
        or image.size == 0
    ):
        found = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"
        raise InvalidArgumentError(f"image is {found}, expected a NumPy array uint8 [height, width, 3]")
    if not isinstance(faces, Detections):
        raise InvalidArgumentError(f"faces is a {type(faces).__name__}, expected Detections")
    if not isinstance(margin, int | float | np.number) or isinstance(margin, bool) or not 0 <= margin <= 1000:
        raise InvalidArgumentError(f"margin is {margin!r}, expected a fraction of the box, 0 to 1000")
    crops = []
    for index, box in enumerate(faces.boxes.astype(np.float64)):
        if not np.isfinite(box).all():
            raise InvalidArgumentError(f"the box of face {index} is {box.tolist()}, expected finite numbers")
        crops.append((_padded if pad else _clipped)(image, *_extent(box, float(margin), square)))
    return crops


def _dense(image: Any) -> Any:
    """Return an image whose pixels are adjacent: a copy of a view that reverses channels, columns or rows."""
    if isinstance(image, np.ndarray) and image.ndim == 3 and (image.strides[1:] != (3, 1) or image.strides[0] < 0):
        return np.ascontiguousarray(image)
    return image


def _each(faces: Any) -> list[Detections]:
    """Check a list of Detections."""
    if not isinstance(faces, list | tuple):
        raise InvalidArgumentError(f"faces is a {type(faces).__name__}, expected Detections or a list of them")
    for i, one in enumerate(faces):
        if not isinstance(one, Detections):
            raise InvalidArgumentError(f"faces[{i}] is a {type(one).__name__}, expected Detections")
    return list(faces)


def _landmarks(faces: Detections, name: str) -> FloatArray:
    """Return landmarks [N, 10] that can be aligned."""
    if faces.landmarks is None:
        raise InvalidArgumentError(
            f"{name} has no landmarks, because its model has no landmark heads: crop() needs none, or use another model"
        )
    points = np.ascontiguousarray(faces.landmarks, np.float32)
    finite = np.isfinite(points).all(axis=(1, 2))
    coincide = (points == points[:, :1]).all(axis=(1, 2))
    for bad, reason in ((~finite, "are not finite"), (coincide, "coincide")):
        if bad.any():
            raise InvalidArgumentError(
                f"the landmarks of face {np.flatnonzero(bad)[0]} of {name} {reason}, expected five different points"
            )
    return points.reshape(-1, 10)


def _sides(size: Any) -> tuple[Any, Any]:
    """Return the height and the width, which the operator checks."""
    if isinstance(size, int | np.integer):
        return size, size
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise InvalidArgumentError(f"size is {size!r}, expected pixels: a side, or (height, width)")
    return size[0], size[1]


def _template(name: str, height: Any, width: Any) -> FloatArray:
    """Return a known template, [5, 2], for a crop."""
    if name != "arcface":
        raise InvalidArgumentError(f"template is {name!r}, expected 'arcface' or five points (x, y)")
    points, beside = np.array(_ARCFACE), np.array([8, 0])
    try:
        if height == width:
            from_128 = height % 128 == 0 and height % 112 != 0
            scaled = (points + beside) * (height / 128) if from_128 else points * (height / 112)
        elif height * 96 == width * 112:
            scaled = (points - beside) * (height / 112)
        else:
            raise InvalidArgumentError(
                f"size is {(height, width)}, expected a square or the proportions of (112, 96), for which "
                "there is a template 'arcface'; for another size give five points (x, y) as template"
            )
    except (TypeError, OverflowError):  # no numbers, or far too large: the operator says so
        scaled = points
    return np.asarray(scaled, np.float32)


def _extent(box: NDArray[np.float64], margin: float, square: bool) -> list[int]:
    """Return the left, top, right and bottom edge of a crop in whole pixels."""
    sides = np.maximum(box[2:] - box[:2], 0) * (1 + 2 * margin)
    if square:
        side = math.ceil(sides.max())
        left, top = (math.floor(middle - side / 2 + 0.5) for middle in (box[:2] + box[2:]) / 2)
        return [left, top, left + side, top + side]
    grown = (box[:2] + box[2:] - sides) / 2, (box[:2] + box[2:] + sides) / 2
    return [*map(math.floor, grown[0]), *map(math.ceil, grown[1])]


def _clipped(image: Image, left: int, top: int, right: int, bottom: int) -> Image:
    height, width = image.shape[:2]
    left, top = (min(max(first, 0), side - 1) for first, side in ((left, width), (top, height)))
    return image[top : max(bottom, top + 1), left : max(right, left + 1)].copy()


def _padded(image: Image, left: int, top: int, right: int, bottom: int) -> Image:
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    if max(right - left, bottom - top) > MAX_IMAGE_SIDE:
        raise InvalidArgumentError(
            f"a crop with its padding has {bottom - top} x {right - left} pixels (height x width), expected at most "
            f"{MAX_IMAGE_SIDE} each: without pad it ends where the image does"
        )
    padded = np.zeros((bottom - top, right - left, image.shape[2]), np.uint8)
    height, width = image.shape[:2]
    if left < width and top < height and right > 0 and bottom > 0:
        part = image[max(top, 0) : bottom, max(left, 0) : right]
        row, column = max(-top, 0), max(-left, 0)
        padded[row : row + part.shape[0], column : column + part.shape[1]] = part
    return padded
