"""Rows with pictures in, rows with faces out. A picture that cannot be read is a row with an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.inputs import as_image
from engine.rows.columns import FaceColumn
from engine.types import Image

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


def columns_of(rows: Sequence[Detections | str], columns: Sequence[FaceColumn]) -> dict[str, list[Any]]:
    """Return the values of these columns by name, and before them `error`: why a row has no faces, or None."""
    return {
        "error": [row if isinstance(row, str) else None for row in rows],
        **{column.name: [None if isinstance(row, str) else column.of(row) for row in rows] for column in columns},
    }


def _decoded(picture: bytes | None) -> Image | str:
    if picture is None:
        return "there is no picture"
    try:
        return as_image(picture, "the picture")
    except InvalidArgumentError as error:
        return str(error)
