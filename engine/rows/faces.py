"""Rows with pictures in, rows with faces out. A picture that cannot be read is a row with an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.inputs import as_image
from engine.types import Image

COLUMNS = ("error", "height", "width", "boxes", "scores", "landmarks")
"""Of a row: why there are no faces, or None; the image's size; and what Detections has, as lists."""

Decode = Callable[[Callable[[bytes | None], Image | str], Iterable[bytes | None]], Iterable[Image | str]]


def detect_rows(
    pictures: Sequence[bytes | None], detect: Callable[[list[Image]], list[Detections]], decode: Decode = map
) -> list[Detections | str]:
    """Return the faces of each picture, or why it cannot be read.

    Args:
        pictures: contents of picture files; None where there is none.
        detect: as TRTRetinaFace.detect; it is called once, with the pictures that can be read, uint8 [H, W, 3].
        decode: as map; that of a pool of threads decodes several at a time.

    Raises:
        RetinaFaceError: what `detect` raises: the engine failed, not a picture.
    """
    decoded = list(decode(_decoded, pictures))
    images = [image for image in decoded if not isinstance(image, str)]
    found = iter(detect(images) if images else ())
    return [image if isinstance(image, str) else next(found) for image in decoded]


def columns_of(rows: Sequence[Detections | str]) -> dict[str, list[Any]]:
    """Return faces, or errors, as columns of plain lists and numbers: float32 values are exact in them."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for row in rows:
        for column, value in zip(columns.values(), _values(row), strict=True):
            column.append(value)
    return columns


def _decoded(picture: bytes | None) -> Image | str:
    if picture is None:
        return "there is no picture"
    try:
        return as_image(picture, "the picture")
    except InvalidArgumentError as error:
        return str(error)


def _values(row: Detections | str) -> tuple[Any, ...]:
    if isinstance(row, str):
        return row, None, None, None, None, None
    height, width = row.image_size or (None, None)
    landmarks = None if row.landmarks is None else row.landmarks.tolist()
    return None, height, width, row.boxes.tolist(), row.scores.tolist(), landmarks
