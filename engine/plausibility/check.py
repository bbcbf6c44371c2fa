"""The check of loaded weights before a build."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InvalidArgumentError, RetinaFaceError
from engine.images import read_image
from engine.model.weights.known import RANDOM_WEIGHTS
from engine.pictures.drawn import DRAWN_FACES, drawn_faces
from engine.plausibility.report import report
from engine.plausibility.trials import trials
from engine.text import printable
from engine.types import Image, WeightsOrigin

if TYPE_CHECKING:
    from engine.model.retinaface import RetinaFace

_MOST_DRAWN = 10 * DRAWN_FACES


@dataclass(frozen=True)
class Picture:
    """A picture with faces.

    Attributes:
        image: uint8 [H, W, 3], BGR.
        name: of its file.
    """

    image: Image
    name: str


def read_picture(path: str | os.PathLike[str] | None) -> Picture | None:
    """Read a picture to try weights on, if one is given.

    Raises:
        InvalidArgumentError: it cannot be read.
    """
    if path is None:
        return None
    try:
        return Picture(read_image(Path(path)), os.fspath(path))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"--check {os.fspath(path)}: {error}") from error


def remarks(model: RetinaFace, origin: WeightsOrigin, picture: Picture | None, size: tuple[int, int]) -> list[str]:
    """Try weights on a picture with the settings that their shapes allow, and return what is to be said.

    That they cannot be tried, as where the picture takes more memory than there is, is no reason not to build.

    Args:
        model: with the weights, in evaluation mode.
        origin: of the weights.
        picture: with faces, beside the drawn one. If there is none, only unknown weights are tried.
        size: (height, width) of the network's input, to which the picture is letterboxed. A drawn one has its own.
    """
    if not model.config.has_published_heads:
        note = "Note: the weights were not tried on a picture, which is for one class and five landmarks"
        return [] if picture is None else [note]
    if picture is None and (origin.known_as is not None or origin.source == RANDOM_WEIGHTS):
        return []
    try:
        return _tried(model, origin, picture, size)
    except (RetinaFaceError, RuntimeError, MemoryError) as error:
        reason = printable(str(error) or type(error).__name__)
        return [f"Warning: the weights were not tried on a picture with faces: {reason}"]


def _tried(model: RetinaFace, origin: WeightsOrigin, picture: Picture | None, size: tuple[int, int]) -> list[str]:
    drawn = drawn_faces()
    tried = trials(model, drawn, drawn.shape[:2], _MOST_DRAWN)
    name = f"a drawn picture of {DRAWN_FACES} faces"
    if picture is not None:
        # On a photo alone, pixels with another mean or order may find a face more by chance.
        tried = [one + other for one, other in zip(trials(model, picture.image, size), tried, strict=True)]
        name = f"{picture.name} and {name}"
    return report(tried, origin.source, name)
