"""Faces cut out of images: turned upright by their landmarks for recognition, or as their boxes are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.errors import InvalidArgumentError
from engine.faces.alignment import Size, Template, align_images
from engine.faces.checks import image_of_faces
from engine.faces.detections import Detections
from engine.faces.pictured import DEFAULT_MARGIN
from engine.types import AnyImage, Image


def align(
    image: AnyImage | Sequence[AnyImage],
    faces: Detections | Sequence[Detections],
    size: Size = 112,
    template: Template = "arcface",
    *,
    threads: int = 0,
    stream: object = None,
) -> Any:
    """Cut out faces, each turned, scaled and moved so that its five landmarks lie where a template has them.

    The crops are what models for face recognition expect. The transform is the similarity with the least sum of squared
    distances to the template (Umeyama 1991; no reflection), sampling is bilinear, and beyond the image is 0: what
    insightface's norm_crop does with cv2.warpAffine, whose pixels differ by one grey level at most.

    Args:
        image: the image that the faces were found in, of any kind that detect() takes; in CUDA memory (torch, CuPy,
            PyCUDA, ...) uint8 [H, W, 3]. Or a list of such images; all their faces are cut out together. The crops of
            an array or tensor have its order of channels, others are BGR.
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
        InvalidArgumentError: an argument is of a wrong type or out of range, an image is none or has another size
            than that of its faces, the faces have no landmarks, or those of a face are not finite or coincide.
        CudaError: a CUDA call failed.
    """
    single = isinstance(faces, Detections)
    per_image = _each([faces] if single else faces)
    images: Any = [image] if single else image
    if not single and (not hasattr(images, "__len__") or len(images) != len(per_image)):
        count = f"{len(images)} images" if hasattr(images, "__len__") else f"a {type(image).__name__}"
        raise InvalidArgumentError(f"image is {count}, expected a list of {len(per_image)}: one for each of faces")
    landmarks = {"faces" if single else f"faces[{i}]": each.landmarks for i, each in enumerate(per_image)}
    pixels = [
        image_of_faces(one, "image" if single else f"image[{i}]", each.image_size, on_gpu=True)
        for i, (one, each) in enumerate(zip(images, per_image, strict=True))
    ]
    return align_images(pixels, landmarks, size, template, threads, stream)


def crop(
    image: AnyImage,
    faces: Detections,
    margin: float = DEFAULT_MARGIN,
    *,
    square: bool = False,
    pad: bool = False,
) -> list[Image]:
    """Cut out the box of each face, with a margin.

    Args:
        image: that of the faces, of any kind that detect() takes, but not in GPU memory.
        faces: the faces.
        margin: on each side, as a fraction of the box's width and height; 0 to 1000.
        square: extend the shorter sides, evenly, to the length of the longer ones.
        pad: fill what is beyond the image with 0, instead of ending the crop there.

    Returns:
        uint8 [h, w, 3] for each face, as copies, of at least one pixel.

    Raises:
        InvalidArgumentError: as Detections.crops.
    """
    if not isinstance(faces, Detections):
        raise InvalidArgumentError(f"faces is a {type(faces).__name__}, expected Detections")
    return faces.crops(image, margin=margin, square=square, pad=pad)


def _each(faces: Any) -> list[Detections]:
    """Check a list of Detections."""
    if not isinstance(faces, list | tuple):
        raise InvalidArgumentError(f"faces is a {type(faces).__name__}, expected Detections or a list of them")
    for i, one in enumerate(faces):
        if not isinstance(one, Detections):
            raise InvalidArgumentError(f"faces[{i}] is a {type(one).__name__}, expected Detections")
    return list(faces)
