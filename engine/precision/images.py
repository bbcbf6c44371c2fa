"""The pictures that calibration reads: found, checked, split and letterboxed one at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from engine.errors import CalibrationError, InvalidArgumentError
from engine.preprocess import MAX_IMAGE_SIDE, Letterbox
from engine.types import FloatArray, Image

MINIMUM = 4
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class CalibrationImages:
    """Readable pictures and what they become.

    Attributes:
        paths: in the order of their names.
        digests: SHA-256 of each file.
        skipped: files that are not readable pictures.
        letterbox: the detector's own.
    """

    paths: tuple[Path, ...]
    digests: tuple[str, ...]
    skipped: tuple[Path, ...]
    letterbox: Letterbox

    @property
    def fitting(self) -> range:
        """Indices of the pictures that ranges, biases and weights are fitted to: every second one."""
        return range(0, len(self.paths), 2)

    @property
    def held_out(self) -> range:
        """Indices of the others, which only measure the loss."""
        return range(1, len(self.paths), 2)

    def image(self, index: int) -> Image:
        """Read a picture, uint8 [H, W, 3] in BGR order."""
        image = _read(self.paths[index])
        if image is None:
            raise CalibrationError(f"calibration image {self.paths[index]} has become unreadable during the build")
        return image

    def batch(self, index: int) -> FloatArray:
        """Read a picture as the network's input, float32 [1, 3, H, W]."""
        return self.letterbox.batch([self.image(index)])

    def batches(self, indices: Iterable[int]) -> Iterator[FloatArray]:
        """Read pictures one after the other; only one is in memory."""
        return (self.batch(index) for index in indices)


def find_images(
    folder: str | os.PathLike[str],
    count: int,
    letterbox: Letterbox,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> CalibrationImages:
    """Find up to `count` pictures of a folder and its subfolders, evenly spaced over their sorted names.

    Args:
        folder: with pictures of any sizes; other files are ignored.
        count: how many to use.
        letterbox: the detector's own.
        on_image: called with how many were read and how many there are.

    Raises:
        CalibrationError: the folder is missing, or holds fewer than MINIMUM readable pictures.
        InvalidArgumentError: count is below MINIMUM.
    """
    if count < MINIMUM:
        raise InvalidArgumentError(f"calib_images is {count}, expected at least {MINIMUM}")
    root = Path(folder)
    if not root.is_dir():
        raise CalibrationError(f"calibration folder {root} does not exist: give a folder of photos with --calib-dir")
    named = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    chosen = [named[i * len(named) // count] for i in range(count)] if len(named) > count else named
    paths, digests, skipped = [], [], []
    for i, path in enumerate(chosen):
        if _read(path) is None:
            skipped.append(path)
        else:
            paths.append(path)
            digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
        on_image(i + 1, len(chosen))
    if len(paths) < MINIMUM:
        unreadable = f" ({len(skipped)} more cannot be read: {skipped[0].name} ...)" if skipped else ""
        raise CalibrationError(
            f"calibration folder {root} has {len(paths)} readable images{unreadable}, expected at least {MINIMUM}; "
            "100 photos like those of production are a good number"
        )
    return CalibrationImages(tuple(paths), tuple(digests), tuple(skipped), letterbox)


def _read(path: Path) -> Image | None:
    try:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # a picture of absurd size
        return None
    return image if image is None or max(image.shape) <= MAX_IMAGE_SIDE else None  # type: ignore[return-value]
