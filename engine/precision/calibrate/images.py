"""The calibration images: found, checked, resized and split; each file is decoded once."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine import ops
from engine.errors import CalibrationError, InvalidArgumentError
from engine.files import sha256_of_file
from engine.images import list_images
from engine.inputs import as_image
from engine.precision.options import MINIMUM_IMAGES
from engine.runtime.letterbox import Letterbox
from engine.types import FloatArray, Image


@dataclass(frozen=True, eq=False)
class CalibrationImages:
    """Readable images, for fitting or held out, as the detector's letterbox resizes them.

    Attributes:
        paths: in the order of their names.
        digests: SHA-256 of each file.
        skipped: files that cannot be read as images.
        letterbox: that of the detector.
        pictures: of each path, uint8 [H, W, 3] in BGR order, no larger than the network's input. Views of them may
            follow, which are only fitted to.
        hold_out: every hold_out-th image is held out; None fits to all images and measures on all of them.
    """

    paths: tuple[Path, ...]
    digests: tuple[str, ...]
    skipped: tuple[Path, ...]
    letterbox: Letterbox
    pictures: tuple[Image, ...]
    hold_out: int | None = 2

    @property
    def fitting(self) -> list[int]:
        """Indices of the images that ranges and weights are fitted to."""
        if self.hold_out is None:
            return list(range(len(self.pictures)))
        return [i for i in range(len(self.paths)) if (i + 1) % self.hold_out]

    @property
    def held_out(self) -> list[int]:
        """Indices of the images on which the loss is measured: the other ones, or all."""
        return [i for i in range(len(self.paths)) if self.hold_out is None or not (i + 1) % self.hold_out]

    def image(self, index: int) -> Image:
        """Return an image, uint8 [H, W, 3] in BGR order."""
        return self.pictures[index]

    def batch(self, index: int) -> FloatArray:
        """Return an image as the network's input, float32 [1, 3, H, W]."""
        return self.letterbox.batch([self.image(index)])

    def batches(self, indices: Iterable[int]) -> Iterator[FloatArray]:
        """Return images as inputs, one after the other; only one input is in memory."""
        return (self.batch(index) for index in indices)


def resized(image: Image, letterbox: Letterbox) -> Image:
    """Return an image as the letterbox resizes it, without the padding, so that its letterbox is the image's own."""
    height, width = image.shape[:2]
    levels, transforms = ops.letterbox(
        [image], letterbox.size, mean=0.0, enlarge=letterbox.enlarge, channels_last=True, threads=1
    )  # fmt: skip
    scale, left, top = transforms[0].astype(float)
    tall, wide = (max(1, math.floor(side * scale + 0.5)) for side in (height, width))
    inside = levels[0, int(top) : int(top) + tall, int(left) : int(left) + wide]
    return np.ascontiguousarray(inside, np.uint8)


def calibration_files(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the paths of the images in a folder and its subfolders, sorted.

    Raises:
        CalibrationError: no such folder, or no image in it.
    """
    try:
        return list_images(Path(folder))
    except InvalidArgumentError as error:
        raise CalibrationError(f"calibration images: {error}. Give a folder of photos with --calib-dir") from error


def find_images(
    folder: str | os.PathLike[str],
    count: int,
    letterbox: Letterbox,
    on_image: Callable[[int, int], None] = lambda done, total: None,
    *,
    hold_out: int | None = 2,
) -> CalibrationImages:
    """Read up to `count` images of a folder and its subfolders; see read_images.

    Raises:
        CalibrationError: no such folder, or fewer than MINIMUM_IMAGES readable images in it.
    """
    return read_images(calibration_files(folder), str(folder), count, letterbox, on_image, hold_out=hold_out)


def read_images(
    named: Sequence[Path],
    source: str,
    count: int,
    letterbox: Letterbox,
    on_image: Callable[[int, int], None] = lambda done, total: None,
    *,
    hold_out: int | None = 2,
) -> CalibrationImages:
    """Read up to `count` images, evenly spaced over a list.

    Args:
        named: paths of images of any sizes.
        source: of the list, in messages.
        count: how many to use.
        letterbox: that of the detector.
        on_image: called after each image with the number of images read and the number of all.
        hold_out: every hold_out-th image is held out; None fits to all and measures on all.

    Raises:
        CalibrationError: fewer than MINIMUM_IMAGES of them are readable.
    """
    chosen = [named[i * len(named) // count] for i in range(count)] if len(named) > count else named
    paths, digests, skipped, pictures = [], [], [], []
    for i, path in enumerate(chosen):
        try:
            pictures.append(resized(as_image(path, "the picture"), letterbox))
            digests.append(sha256_of_file(path))
            paths.append(path)
        except InvalidArgumentError:
            skipped.append(path)
        on_image(i + 1, len(chosen))
    if len(paths) < MINIMUM_IMAGES:
        unreadable = f" ({len(skipped)} more cannot be read: {skipped[0].name} ...)" if skipped else ""
        raise CalibrationError(
            f"{source} has {len(named)} pictures; {len(chosen)} were chosen for calibration and {len(paths)} are "
            f"readable{unreadable}, expected at least {MINIMUM_IMAGES}: give about 100 photos like production's"
        )
    return CalibrationImages(tuple(paths), tuple(digests), tuple(skipped), letterbox, tuple(pictures), hold_out)
