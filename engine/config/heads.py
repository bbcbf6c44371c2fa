"""The settings of heads beyond those of RetinaFace as published: classes, points, values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.config.reader import ADDED
from engine.errors import InvalidArgumentError

CLASS_CODINGS = ("softmax", "sigmoid")
PLAIN, POINTS = VALUE_CODINGS = ("plain", "points")
# What csrc/ops/anchor_decode.h takes.
MAX_CLASSES, MAX_POINTS, MAX_VALUE_HEADS, MAX_PAYLOAD = 256, 128, 8, 1024
FIVE_MIRRORED = (1, 0, 2, 4, 3)  # eyes and corners of the mouth change places
_LONGEST_NAME = 64
# The words before "_" begin the names of tensors that exports write, and of what a cascade's first stage learns.
_VALUE_NAME = re.compile(r"(?!(candidate|payload|decode|suppress|normalised?|first)_)[a-z][a-z0-9_]{0,31}", re.ASCII)
# Names of other tensors: of networks, of engines, of servers; and what to_supervision adds.
_TAKEN = {
    *("logits", "box_deltas", "landmark_deltas", "anchor_deltas", "images"),
    *("num_detections", "boxes", "scores", "landmarks", "classes", "payload", "vertices", "colours"),
    *("num_faces", "encoded", "image", "sizes"),
    "class_name",
}


@dataclass(frozen=True)
class ValueHead:
    """Numbers per anchor, which reach the results of a detection.

    Attributes:
        name: of them in the results; the network's outputs are NAME_STRIDE.
        size: how many.
        coding: "plain": numbers, which stay as the head gives them. "points": x and y of size / 2 points, which the
            head gives relative to the anchor, as it gives landmarks, and which become places in pixels. In a mirror
            they keep their order, unlike landmarks: see RetinaFaceConfig.mirrored_points.
    """

    name: str
    size: int
    coding: str = field(default=PLAIN, metadata={ADDED: True})

    @property
    def is_points(self) -> bool:
        """Whether the values are places, not plain numbers."""
        return self.coding == POINTS

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: plain numbers without a coding, as older versions wrote and read them."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("coding", PLAIN)}


def check_heads(
    classes: Sequence[str], coding: str, mirrored: Sequence[int], values: Sequence[ValueHead], has_landmarks: bool
) -> None:
    """Check the settings of RetinaFaceConfig of these names, `class_coding` and `mirrored_points`.

    Raises:
        InvalidArgumentError: a setting is not one that the operators take.
    """
    named = all(0 < len(name) <= _LONGEST_NAME for name in classes) and len(set(classes)) == len(classes)
    expected = f"1 to {MAX_CLASSES - 1} different names; the background is none of them"
    _require(named and 0 < len(classes) < MAX_CLASSES, "classes", classes, expected)
    _require(coding in CLASS_CODINGS, "class_coding", coding, " or ".join(CLASS_CODINGS))
    there = sorted(mirrored) == list(range(len(mirrored))) and 0 < len(mirrored) <= MAX_POINTS
    expected = f"for each of 1 to {MAX_POINTS} points the number of the one in its place, whose own is the point's"
    _require(there and all(mirrored[mirrored[i]] == i for i in mirrored), "mirrored_points", mirrored, expected)
    unused = "no such setting, as there is no landmark head"
    _require(has_landmarks or mirrored == FIVE_MIRRORED, "mirrored_points", mirrored, unused)
    names, sizes = [head.name for head in values], [head.size for head in values]
    named = len(set(names)) == len(names) and all(_VALUE_NAME.fullmatch(name) for name in names)
    expected = "different names of small letters, digits and _, none of them that of another tensor"
    _require(named and not set(names) & _TAKEN, "values", names, expected)
    numbers = sum(sizes) + 2 * len(mirrored) * has_landmarks
    fit = len(sizes) <= MAX_VALUE_HEADS and all(size > 0 for size in sizes) and numbers <= MAX_PAYLOAD
    expected = f"up to {MAX_VALUE_HEADS} heads of 1 or more values, with the points up to {MAX_PAYLOAD} numbers"
    _require(fit, "values", sizes, expected)
    codings = [head.coding for head in values]
    _require(set(codings) <= set(VALUE_CODINGS), "coding of values", codings, " or ".join(VALUE_CODINGS))
    odd = [head.size for head in values if head.is_points and head.size % 2]
    _require(not odd, "size of values that are points", odd, "even numbers: x and y of each point")


def split_values(values: Any, heads: Sequence[ValueHead]) -> dict[str, Any]:
    """Return an array [..., sum of the heads' sizes] as one [..., size] for each head, by name."""
    begin, found = 0, dict[str, Any]()
    for head in heads:
        found[head.name], begin = values[..., begin : begin + head.size], begin + head.size
    return found


def _require(ok: bool, name: str, given: object, expected: str) -> None:
    if not ok:
        raise InvalidArgumentError(f"config: {name} is {given!r:.200}, expected {expected}")
