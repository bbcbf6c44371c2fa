"""Reads labels of any format, which is seen from the content, and finds their pictures."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.config.heads import FIVE_MIRRORED, ValueHead
from engine.errors import InvalidArgumentError
from engine.images import list_images
from engine.pictures.classes import ONE_CLASS, ClassNumbers
from engine.pictures.labels import label_names
from engine.text import represented
from engine.train.labels.checks import check_faces
from engine.train.labels.coco import read_coco
from engine.train.labels.json_lines import read_json_lines
from engine.train.labels.labelled import Faces, LabelledPicture
from engine.train.labels.voc import read_voc
from engine.train.labels.wider_text import read_retinaface_text, read_wider_text
from engine.untrusted.files import open_regular

_log = logging.getLogger("engine")

_HEAD_BYTES = 1 << 16
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_JSON_LINE = re.compile(rb'\{[^\r\n]*"(image|faces)"\s*:')
_FORMATS = (
    "JSON lines as `retinaface-trt detect` prints them, WIDER FACE's or RetinaFace's text, COCO's JSON, or a folder of "
    "Pascal VOC's XML files"
)


def read_labels(
    file: Path,
    pictures: Path,
    say: Callable[[str], None] = _log.warning,
    classes: Sequence[str] = ONE_CLASS,
    mirrored: Sequence[int] = FIVE_MIRRORED,
    values: Sequence[ValueHead] = (),
) -> list[LabelledPicture]:
    """Read labels, and look at their pictures.

    Boxes are clipped to their pictures; those that are then empty are left out. A label belongs to the picture of its
    name below the folder, else to the only picture with that file name.

    Args:
        file: JSON lines, WIDER FACE's text or RetinaFace's with five points, COCO's JSON; or a folder with Pascal VOC's
            XML files.
        pictures: the folder of the pictures.
        say: is told, in a sentence each, of boxes that were changed or left out, of pictures without labels, and which
            classes were taken as faces.
        classes: names of the model's classes. If there are several, each face of the labels has one of these names; of
            a model with one class, every face is of that one.
        mirrored: its `mirrored_points`, one for each landmark; none if it has no landmarks. JSON lines and COCO's JSON
            may have any number of landmarks, the texts have the five of faces; each model takes faces without.
        values: its heads of values, which JSON lines may have.

    Returns:
        The labelled pictures in the order of their names; also those without faces.

    Raises:
        InvalidArgumentError: the labels are of no known format, malformed, or have no faces, or
            a face whose class is missing or none of the model's; a picture is missing or
            cannot be read; more than half of the boxes are empty or outside of their pictures; or left and right
            landmarks are exchanged.
    """
    paths = list_images(pictures)
    names = [path.relative_to(pictures).as_posix() for path in paths]
    labels = read_faces(file, names, say, classes, mirrored, values)
    found = label_names(labels, names)
    _refuse_missing(file, pictures, labels.keys() - set(found))
    unused = [name for name, label in zip(names, found, strict=True) if label is None]
    if unused:
        say(
            f"labels {file}: {len(unused)} of {len(names)} pictures have no label and are not used, such as {unused[0]}"
        )
    return check_faces(
        file,
        [(path, labels[label]) for path, label in zip(paths, found, strict=True) if label is not None],
        say,
        are_five=tuple(mirrored) == FIVE_MIRRORED,
    )


def read_faces(
    file: Path,
    names: Sequence[str],
    say: Callable[[str], None],
    classes: Sequence[str] = ONE_CLASS,
    mirrored: Sequence[int] = FIVE_MIRRORED,
    values: Sequence[ValueHead] = (),
) -> dict[str, Faces]:
    """Return the faces of each picture, by its name in the labels, without a look at pictures.

    Args:
        file: see read_labels.
        names: of the pictures that there are.
        say: is told which classes were taken as faces.
        classes: see read_labels.
        mirrored: see read_labels.
        values: see read_labels.

    Raises:
        InvalidArgumentError: the labels cannot be read, are of no known format, malformed, or have a face whose class
            is missing or none of the model's.
    """
    try:
        found = _read(file, names, say, ClassNumbers(classes), mirrored, values)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"labels {file} cannot be read: {error}") from error
    return {name: _with_values(faces, values) for name, faces in found.items()}


def _with_values(faces: Faces, values: Sequence[ValueHead]) -> Faces:
    if not values or faces.values is not None:
        return faces
    return replace(faces, values=np.full((len(faces.boxes), sum(head.size for head in values)), np.nan, np.float32))


def _read(
    file: Path,
    names: Sequence[str],
    say: Callable[[str], None],
    numbers_of: ClassNumbers,
    mirrored: Sequence[int],
    values: Sequence[ValueHead],
) -> dict[str, Faces]:
    if file.is_dir():
        return read_voc(file, names, numbers_of, say, len(mirrored))
    with open_regular(file) as opened:
        head = opened.read(_HEAD_BYTES).removeprefix(_BYTE_ORDER_MARK).lstrip()
    if head.startswith(b"{"):
        if _JSON_LINE.match(head):
            return read_json_lines(file, numbers_of, len(mirrored), values)
        return read_coco(file, numbers_of, say, len(mirrored))
    if head.startswith(b"#"):
        _refuse_classes(file, numbers_of)
        return read_retinaface_text(file, mirrored)
    lines = [line for line in head.splitlines() if line.strip()]
    if len(lines) > 1 and lines[1].strip().isdigit():
        _refuse_classes(file, numbers_of)
        return read_wider_text(file, mirrored)
    begins = f"begins with {represented(head[:80])}" if head else "is empty"
    raise InvalidArgumentError(f"labels {file}: it {begins}, expected {_FORMATS}")


def _refuse_classes(file: Path, numbers_of: ClassNumbers) -> None:
    """Raise InvalidArgumentError if a model has several classes, for formats that have none."""
    try:
        numbers_of.number(None)
    except ValueError as error:
        raise InvalidArgumentError(f"labels {file}: {error}. This format has no classes") from error


def _refuse_missing(file: Path, pictures: Path, missing: set[str]) -> None:
    if missing:
        raise InvalidArgumentError(
            f"labels {file} name {len(missing)} pictures that are not in {pictures}, such as {min(missing)}: give the "
            "folder of the pictures, or take these out of the labels"
        )
