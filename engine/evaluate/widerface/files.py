"""WIDER FACE's files: the ground truth (.mat), and predictions as one text file per image.

The file EVENT/IMAGE.txt has the image's name, the number of faces, and one line per face: left, top, width, height and
score.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import EvaluationError
from engine.evaluate.widerface.matlab import read_variables
from engine.faces import Detections
from engine.untrusted.limits import MAX_PREDICTIONS
from engine.untrusted.lines import read_lines
from engine.writing import write_file

SUBSETS = ("easy", "medium", "hard")
_COLUMNS = 5
_LARGEST = 1e9  # limit of every number: finds errors in the text, and keeps areas from overflowing
_SHOWN = 80


@dataclass(frozen=True)
class GroundTruth:
    """The labelled faces of a set of images.

    Attributes:
        names: EVENT/IMAGE of each image, without a suffix.
        boxes: float64 [N, 4] per image: left, top, width, height in pixels.
        subsets: by name, bool [N] per image: which faces count. Others are ignored: neither hits nor false positives.
    """

    names: tuple[str, ...]
    boxes: tuple[NDArray[np.float64], ...]
    subsets: dict[str, tuple[NDArray[np.bool_], ...]]

    def part(self, names: Collection[str]) -> GroundTruth:
        """Return the ground truth of some images, in the same order."""
        kept = [i for i, name in enumerate(self.names) if name in names]
        return GroundTruth(
            tuple(self.names[i] for i in kept),
            tuple(self.boxes[i] for i in kept),
            {subset: tuple(counts[i] for i in kept) for subset, counts in self.subsets.items()},
        )


def read_ground_truth(folder: Path) -> GroundTruth:
    """Read wider_face_val.mat and wider_{easy,medium,hard}_val.mat.

    Raises:
        EvaluationError: a file is missing or damaged, lacks a variable, or contradicts another file.
    """
    path = folder / "wider_face_val.mat"
    events, files, faces = _load(path, "event_list", "file_list", "face_bbx_list")
    try:
        names = tuple(
            f"{_folder_name(event[0][0])}/{_folder_name(file[0][0])}"
            for event, images in zip(events, files, strict=True)
            for file in images[0]
        )  # fmt: skip
        found = [image[0] for event in faces for image in event[0]]
    except (IndexError, TypeError, ValueError) as error:
        raise EvaluationError(f"{path} is not laid out as WIDER FACE's: {error}") from error
    if not names or len(names) != len(found):
        raise EvaluationError(f"{path} names {len(names)} images and has boxes of {len(found)}, expected as many")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise EvaluationError(f"{path} names {twice[0]} twice")
    boxes = tuple(_checked_boxes(path, name, values) for name, values in zip(names, found, strict=True))
    return GroundTruth(names, boxes, {subset: _read_subset(folder, subset, names, boxes) for subset in SUBSETS})


def _folder_name(text: object) -> str:
    """Check the name of an event or an image, which becomes part of a path."""
    if not isinstance(text, str) or text in ("", ".", "..") or any(character in text for character in "/\\\0"):
        raise ValueError(f"{text!r} is not a valid name of an event or an image")
    return text


def _checked_boxes(path: Path, name: str, values: object) -> NDArray[np.float64]:
    boxes = np.asarray(values)
    if boxes.dtype.kind not in "iuf" or not (boxes.size == 0 or (boxes.ndim == 2 and boxes.shape[1] == 4)):
        raise EvaluationError(
            f"{path} has boxes of {name} of type {boxes.dtype} and shape {list(boxes.shape)}, expected numbers [N, 4]"
        )
    if not (np.abs(boxes) <= _LARGEST).all():
        raise EvaluationError(f"{path} has a box of {name} that is not finite or beyond {_LARGEST:g} pixels")
    return boxes.astype(np.float64).reshape(-1, 4)


def _read_subset(
    folder: Path, subset: str, names: Sequence[str], boxes: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.bool_], ...]:
    path = folder / f"wider_{subset}_val.mat"
    (events,) = _load(path, "gt_list")
    try:
        kept = [np.asarray(image[0]).reshape(-1) for event in events for image in event[0]]
    except (IndexError, TypeError, ValueError) as error:
        raise EvaluationError(f"{path} is not laid out as WIDER FACE's: {error}") from error
    if len(kept) != len(names):
        raise EvaluationError(f"{path} lists {len(kept)} images, but wider_face_val.mat has {len(names)}")
    masks = []
    for name, faces, numbers in zip(names, boxes, kept, strict=True):
        if numbers.size and numbers.dtype.kind not in "iuf":
            raise EvaluationError(f"{path} counts faces of {name} by {numbers.dtype}, expected numbers")
        fits = (numbers >= 1) & (numbers <= len(faces)) & (numbers == np.floor(numbers))
        if not fits.all():
            raise EvaluationError(f"{path} has face number {numbers[~fits][0]} of {name}, which has {len(faces)}")
        mask = np.zeros(len(faces), np.bool_)
        mask[numbers.astype(np.intp) - 1] = True
        masks.append(mask)
    return tuple(masks)


def _load(path: Path, *variables: str) -> list[Any]:
    if not path.exists():
        raise EvaluationError(
            f"{path} is missing: the folder of the ground truth holds wider_face_val.mat, wider_easy_val.mat, "
            "wider_medium_val.mat and wider_hard_val.mat, from WIDER FACE's evaluation tools"
        )
    content = read_variables(path, variables)
    missing = [name for name in variables if name not in content]
    if missing:
        raise EvaluationError(f"{path} lacks the variables {', '.join(missing)}: it is not one of WIDER FACE's files")
    return [content[name] for name in variables]


def prediction_path(folder: Path, name: str) -> Path:
    """Return the path of the predictions for an image."""
    return folder / f"{name}.txt"


def write_predictions(folder: Path, name: str, faces: Detections) -> None:
    """Write the faces of one image atomically."""
    sizes = faces.boxes[:, 2:] - faces.boxes[:, :2]
    lines = [
        f"{x:.2f} {y:.2f} {width:.2f} {height:.2f} {score:.6f}"
        for (x, y), (width, height), score in zip(faces.boxes[:, :2], sizes, faces.scores, strict=True)
    ]
    path = prediction_path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, "\n".join([f"{name}.jpg", str(len(lines)), *lines, ""]).encode())


def predicted_names(folder: Path, names: Sequence[str]) -> set[str]:
    """Return which of the images have predictions in a folder."""
    return {name for name in names if prediction_path(folder, name).is_file()}


def read_predictions(folder: Path, names: Sequence[str]) -> list[NDArray[np.float64]]:
    """Read the predictions for each image, float64 [N, 5]: left, top, width, height, score, in the file's order.

    Raises:
        EvaluationError: the folder or a file is missing, a line is malformed, or there are too many faces; the message
            names file and line.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder} is not a folder; predictions lie in EVENT/IMAGE.txt there")
    missing = [name for name in names if not prediction_path(folder, name).is_file()]
    if missing:
        raise EvaluationError(
            f"{folder} lacks the predictions for {len(missing)} of {len(names)} images, the first is "
            f"{missing[0]}.txt; an image without faces has a file that says 0"
        )
    found, left = [], MAX_PREDICTIONS
    for name in names:
        found.append(_read_file(prediction_path(folder, name), name, left))
        left -= len(found[-1])
    return found


def _read_file(path: Path, name: str, at_most: int) -> NDArray[np.float64]:
    try:
        return _read_faces(path, name, at_most)
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path} cannot be read: {error}") from error


def _read_faces(path: Path, name: str, at_most: int) -> NDArray[np.float64]:
    lines = read_lines(path)
    title, image = next(lines, ""), PurePosixPath(name).name
    if PurePosixPath(title.strip()).name not in (image, f"{image}.jpg"):
        raise EvaluationError(f"{path}, line 1: expected the image's name, {image}.jpg, got {_shown(title)}")
    announced = next(lines, "").strip()
    if not (announced.isascii() and announced.isdecimal()):
        raise EvaluationError(f"{path}, line 2: expected the number of faces, got {_shown(announced)}")
    numbers, blank = array("d"), 0
    for number, line in enumerate(lines, 3):
        if not line.strip():
            blank = blank or number  # allowed at the end only
            continue
        face = None if blank else _parse_face(line)
        if face is None:
            raise EvaluationError(
                f"{path}, line {blank or number}: expected left, top, width, height and score, got "
                f"{_shown('' if blank else line)}"
            )
        numbers.extend(face)
        if len(numbers) > _COLUMNS * at_most:
            raise EvaluationError(
                f"{path}, line {number}: more than {MAX_PREDICTIONS:,} faces are predicted, in all files together"
            )
    faces = np.array(numbers, np.float64).reshape(-1, _COLUMNS)
    # Compared as text: int() refuses thousands of digits.
    if (announced.lstrip("0") or "0") != str(len(faces)):
        raise EvaluationError(f"{path}, line 2: {announced[:_SHOWN]} faces are announced, {len(faces)} lines follow")
    return faces


def _parse_face(line: str) -> list[float] | None:
    """Return the numbers of a line; None unless they are those of a face."""
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError:
        return None
    return numbers if len(numbers) == _COLUMNS and all(abs(n) <= _LARGEST for n in numbers) else None


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
