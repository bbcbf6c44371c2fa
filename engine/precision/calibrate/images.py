"""The pictures that calibration reads: found, checked, split and letterboxed one at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import CalibrationError, InvalidArgumentError
from engine.files import sha256_of_file
from engine.images import list_images, read_image
from engine.precision.options import MINIMUM_IMAGES
from engine.runtime.letterbox import Letterbox, check_image
from engine.types import FloatArray, Image


@dataclass(frozen=True)
class CalibrationImages:
    """Readable pictures and what they become.

    Attributes:
        paths: in the order of their names.
        digests: SHA-256 of each file.
        skipped: files that are not readable pictures.
        letterbox: the detector's own.
        hold_out: every so many pictures one is held out.
    """

    paths: tuple[Path, ...]
    digests: tuple[str, ...]
    skipped: tuple[Path, ...]
    letterbox: Letterbox
    hold_out: int = 2

    @property
    def fitting(self) -> list[int]:
        """Indices of the pictures that ranges, biases and weights are fitted to."""
        return [i for i in range(len(self.paths)) if (i + 1) % self.hold_out]

    @property
    def held_out(self) -> list[int]:
        """Indices of the others, which only measure the loss."""
        return [i for i in range(len(self.paths)) if not (i + 1) % self.hold_out]

    def image(self, index: int) -> Image:
        """Read a picture, uint8 [H, W, 3] in BGR order."""
        try:
            return check_image(read_image(self.paths[index]), "image")
        except InvalidArgumentError as error:
            raise CalibrationError(f"calibration image {self.paths[index]} {error}") from error

    def batch(self, index: int) -> FloatArray:
        """Read a picture as the network's input, float32 [1, 3, H, W]."""
        return self.letterbox.batch([self.image(index)])

    def batches(self, indices: Iterable[int]) -> Iterator[FloatArray]:
        """Read pictures one after the other; only one is in memory."""
        return (self.batch(index) for index in indices)


def calibration_files(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the pictures of a folder and its subfolders by their names, sorted.

    Raises:
        CalibrationError: there is no such folder, or no picture in it.
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
    hold_out: int = 2,
) -> CalibrationImages:
    """Find up to `count` pictures of a folder and its subfolders, evenly spaced over their sorted names.

    Args:
        folder: with pictures of any sizes; other files are ignored.
        count: how many to use.
        letterbox: the detector's own.
        on_image: called with how many were read and how many there are.
        hold_out: every so many pictures one is held out.

    Raises:
        CalibrationError: the folder is missing, or holds fewer than MINIMUM_IMAGES readable pictures.
    """
    root, named = Path(folder), calibration_files(folder)
    chosen = [named[i * len(named) // count] for i in range(count)] if len(named) > count else named
    paths, digests, skipped = [], [], []
    for i, path in enumerate(chosen):
        try:
            check_image(read_image(path), "image")
            digests.append(sha256_of_file(path))
            paths.append(path)
        except InvalidArgumentError:
            skipped.append(path)
        on_image(i + 1, len(chosen))
    if len(paths) < MINIMUM_IMAGES:
        unreadable = f" ({len(skipped)} more cannot be read: {skipped[0].name} ...)" if skipped else ""
        raise CalibrationError(
            f"of the {len(named)} pictures in {root} {len(chosen)} were taken for calibration and {len(paths)} are "
            f"readable{unreadable}, expected at least {MINIMUM_IMAGES}; 100 photos like production's are a good number"
        )
    return CalibrationImages(tuple(paths), tuple(digests), tuple(skipped), letterbox, hold_out)
