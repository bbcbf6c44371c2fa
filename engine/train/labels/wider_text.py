"""WIDER FACE's text files, and RetinaFace's, which have five points for most faces.

WIDER FACE: the picture's name, the number of its faces, and one line for each: left, top, width, height, and six
attributes, of which the fourth is "invalid". A picture without faces has one line of zeros.

RetinaFace: "# NAME", and one line for each face: left, top, width, height; then, except in its files for validation,
x, y and a flag of five points, -1 where they are not labelled, and how blurred the face is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from engine.config.heads import FIVE_MIRRORED
from engine.errors import InvalidArgumentError
from engine.train.labels.labelled import FaceList, Faces
from engine.untrusted.lines import read_lines

_INVALID = 7  # column of the attribute
_Line = tuple[int, str]


def read_wider_text(file: Path, mirrored: Sequence[int]) -> dict[str, Faces]:
    """Return the faces of each picture, by the picture's name.

    Args:
        file: with the labels.
        mirrored: see engine.train.labels.read_labels.

    Raises:
        InvalidArgumentError: a line is malformed, the file ends too early, or a picture occurs twice.
        OSError, UnicodeDecodeError: the file cannot be read.
    """
    lines = ((number, line.strip()) for number, line in enumerate(read_lines(file), 1))
    return _read(file, _with_counts(file, (line for line in lines if line[1])), mirrored)


def read_retinaface_text(file: Path, mirrored: Sequence[int]) -> dict[str, Faces]:
    """Return the faces of each picture, by the picture's name; see read_wider_text."""
    lines = ((number, line.strip()) for number, line in enumerate(read_lines(file), 1))
    named = ((number, line[1:].strip() if line[0] == "#" else None, line) for number, line in lines if line)
    return _read(file, named, mirrored)


def _with_counts(file: Path, lines: Iterator[_Line]) -> Iterator[tuple[int, str | None, str]]:
    """Yield lines with their numbers, and the picture's name where one begins."""
    line = next(lines, None)
    while line is not None:
        name = line[1]
        yield line[0], name, name
        at, count = next(lines, (line[0], ""))
        if not (count.isascii() and count.isdigit() and len(count) < 10):
            raise InvalidArgumentError(f"labels {file}, line {at}: expected the number of faces in {name}")
        line = next(lines, None)
        for _ in range(int(count)):
            if line is None:
                raise InvalidArgumentError(f"labels {file} ends before the {count} faces of {name}")
            yield line[0], None, line[1]
            line = next(lines, None)
        if int(count) == 0 and line is not None and set(line[1].split()) == {"0"}:
            line = next(lines, None)


def _read(file: Path, lines: Iterable[tuple[int, str | None, str]], mirrored: Sequence[int]) -> dict[str, Faces]:
    lists: dict[str, FaceList] = {}
    faces = FaceList(len(mirrored))
    for number, name, line in lines:
        if name is not None:
            if name in lists:
                raise InvalidArgumentError(f"labels {file}, line {number}: {name} occurs twice")
            faces = lists[name] = FaceList(len(mirrored))
            continue
        try:
            _add(faces, [float(word) for word in line.split()], mirrored)
        except ValueError as error:
            raise InvalidArgumentError(
                f"labels {file}, line {number}: expected left, top, width and height of a face, followed by WIDER "
                f"FACE's six attributes, or by RetinaFace's five points with flags ({error})"
            ) from error
    return {name: found.faces() for name, found in lists.items()}


def _add(faces: FaceList, values: list[float], mirrored: Sequence[int]) -> None:
    if len(values) not in (4, 10, 19, 20):
        raise ValueError(f"it has {len(values)} numbers")
    left, top, width, height = values[:4]
    points = None
    if len(values) >= 19 and tuple(mirrored) == FIVE_MIRRORED:
        flags = values[6:19:3]
        points = None if min(flags) < 0 else [value for at in range(4, 19, 3) for value in values[at : at + 2]]
    invalid = len(values) == 10 and values[_INVALID] != 0
    faces.add((left, top, left + width, top + height), points, invalid)
