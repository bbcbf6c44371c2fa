"""How plausible the faces are that a network finds in a picture, without knowing where its faces are.

With wrong settings a network finds fewer faces, or hundreds that are none. So they are not counted, but each is judged
by two things that only a network with its own settings gets right:

- its landmarks lie inside its box, the eyes above the mouth, the left ones left of the right ones;
- the anchors around it agree. With anchors of wrong sizes or wrong variances each one sees the face elsewhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.ops import Candidates

LEAST_AGREEMENT = 0.5  # mean IoU of the boxes of a plausible face
_Floats = NDArray[np.floating[Any]]


class Plausibility(NamedTuple):
    """What is plausible of one picture.

    Attributes:
        plausible: faces whose landmarks are in order and whose anchors agree.
        total: sum over all faces with landmarks in order: score times agreement.
    """

    plausible: int
    total: float


def plausibility(found: Candidates) -> Plausibility:
    """Judge the candidates of one picture.

    A face is a candidate and all worse ones whose centre is inside its box or whose box has its centre. Their mean IoU
    with it is its agreement; a face that one anchor alone sees has none.

    Args:
        found: from ops.decode on the CPU, before suppression.
    """
    count = int(found.count[0])
    boxes, scores = found.boxes[0, :count].astype(np.float64), found.scores[0, :count]
    points = None if found.payload is None else found.payload[0, :count].reshape(-1, 5, 2)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    left, plausible, total = np.arange(count), 0, 0.0
    while len(left):
        best = left[0]
        same = _inside(centres[left], boxes[best]) | _inside(centres[best], boxes[left])
        others, left = left[same][1:], left[~same]
        agreement = float(_iou(boxes[best], boxes[others]).mean()) if len(others) else 0.0
        if points is None or _in_order(points[best], boxes[best]):
            plausible += agreement >= LEAST_AGREEMENT
            total += float(scores[best]) * agreement
    return Plausibility(plausible, total)


def _inside(points: _Floats, boxes: _Floats) -> NDArray[np.bool_]:
    """Return which points [..., 2] are inside boxes [..., 4], or on an edge."""
    return np.asarray(((points >= boxes[..., :2]) & (points <= boxes[..., 2:])).all(-1))


def _in_order(points: _Floats, box: _Floats) -> bool:
    """Return whether landmarks [5, 2] are those of an upright or slightly turned face in a box."""
    (eye_x, eye_y), (other_eye_x, other_eye_y), _, (mouth_x, mouth_y), (other_mouth_x, other_mouth_y) = points
    upright = max(eye_y, other_eye_y) < min(mouth_y, other_mouth_y)
    return bool(upright and eye_x < other_eye_x and mouth_x < other_mouth_x and _inside(points, box).all())


def _iou(box: _Floats, others: _Floats) -> _Floats:
    common = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None).prod(1)
    first, second = ((b[..., 2:] - b[..., :2]).prod(-1) for b in (box, others))
    return np.asarray(common / np.maximum(first + second - common, np.finfo(np.float64).tiny))
