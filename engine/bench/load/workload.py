"""The picture files that requests send: a user's folder, or generated ones of several sizes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engine.errors import InvalidArgumentError
from engine.images import decode_image, list_images, read_image
from engine.inputs import as_image
from engine.pictures.backgrounds import texture
from engine.pictures.compose import compose
from engine.pictures.faces import LabelledImage
from engine.pictures.labels import boxes_of, require_labels
from engine.types import FloatArray
from engine.untrusted.files import read_file
from engine.untrusted.limits import MAX_IMAGE_BYTES

GENERATED_SIZES = ((360, 640), (480, 640), (640, 640), (720, 1280), (1080, 1920))
GENERATED = 25
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class Picture:
    """A picture file in memory.

    Attributes:
        name: relative path of the file.
        content: bytes of the file.
        size: (height, width) in pixels.
        boxes: labelled faces, float32 [N, 4]; None without labels.
    """

    name: str
    content: bytes
    size: tuple[int, int]
    boxes: FloatArray | None = None

    @property
    def decoded_bytes(self) -> int:
        """Bytes of its pixels."""
        return self.size[0] * self.size[1] * 3


@dataclass(frozen=True)
class Workload:
    """The pictures that requests send in turn.

    Attributes:
        source: origin of the pictures, in words.
        pictures: at least one, with sizes in random order.
        skipped: (name, reason) of each picture that could not be read.
    """

    source: str
    pictures: tuple[Picture, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        sizes = sorted({picture.size for picture in self.pictures})
        return {
            "source": self.source,
            "pictures": len(self.pictures),
            "bytes": sum(len(picture.content) for picture in self.pictures),
            "sizes": [list(size) for size in sizes],
            "skipped": [{"picture": name, "reason": reason} for name, reason in self.skipped],
        }


def from_folder(folder: Path, labels: Mapping[str, FloatArray] | None, seed: int) -> Workload:
    """Read the picture files of a folder; files that cannot be decoded are skipped and named.

    Raises:
        InvalidArgumentError: no picture can be read, or labels are given and a picture has none.
    """
    paths = list_images(folder)
    names = [path.relative_to(folder).as_posix() for path in paths]
    boxes = [None] * len(names) if labels is None else boxes_of(labels, names)
    pictures, skipped = [], []
    for path, name, faces in zip(paths, names, boxes, strict=True):
        try:
            content = read_file(path, MAX_IMAGE_BYTES)
            image = as_image(decode_image(content), "it")
        except (OSError, InvalidArgumentError) as error:
            skipped.append((name, str(error)))
            continue
        pictures.append(Picture(name, content, (image.shape[0], image.shape[1]), faces))
    if not pictures:
        raise InvalidArgumentError(f"none of the {len(paths)} pictures in {folder} can be read: {skipped[0][1]}")
    if labels is not None:
        require_labels([picture.name for picture in pictures], [picture.boxes for picture in pictures])
    return Workload(str(folder), _mixed(pictures, seed), tuple(skipped))


def generated(seed: int, on_picture: Callable[[], None] = lambda: None) -> Workload:
    """Generate JPEG files of several sizes; with faces if scikit-image, whose photo has one, is installed.

    Equal seeds give equal pictures.
    """
    source = _face()
    pictures = []
    for index in range(GENERATED):
        size = GENERATED_SIZES[index % len(GENERATED_SIZES)]
        picture_seed = seed * GENERATED + index
        if source is None:
            image, boxes = texture(size, np.random.default_rng(picture_seed)), np.zeros((0, 4), np.float32)
        else:
            composed = next(compose([source], size=size, seed=picture_seed))
            image, boxes = composed.image, composed.boxes
        content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
        pictures.append(Picture(f"generated {index}", content, size, boxes))
        on_picture()
    faces = "without faces, as scikit-image is not installed" if source is None else "with pasted faces"
    return Workload(f"generated {faces}, seed {seed}", _mixed(pictures, seed))


def _mixed(pictures: list[Picture], seed: int) -> tuple[Picture, ...]:
    order = np.random.default_rng(seed).permutation(len(pictures))
    return tuple(pictures[index] for index in order)


def _face() -> LabelledImage | None:
    """Return scikit-image's photo of an astronaut (public domain) with the box of her face."""
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "data" / "astronaut.png"
    return LabelledImage(read_image(path), np.array([[178.0, 56.0, 271.0, 178.0]])) if path.is_file() else None
