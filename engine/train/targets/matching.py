"""Which face each anchor is trained to find."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from engine.train.targets.coding import corners

BACKGROUND, IGNORED = -1, -2
"""What `match` gives for anchors that have no face: trained as background, or not at all."""

_INSIDE = 0.5  # part of an anchor that lies inside an ignored face
_ELEMENTS = 1 << 22  # overlaps held at a time: a crowd of a thousand faces needs no more memory than a portrait


@torch.no_grad()
def match(
    anchors: torch.Tensor,
    boxes: torch.Tensor,
    *,
    above: float,
    below: float,
    ignored: torch.Tensor,
    least: float = 0.0,
) -> torch.Tensor:
    """Give each anchor a face, the background, or neither. Nothing here has a gradient.

    1. An anchor takes the face with which its IoU is largest (of equal ones the first), if that is at least `above`. It
       is background if that is less than `below`, and in between it is ignored.
    2. Each face then takes its best anchor (of equal ones the first), whatever their IoU and whomever the anchor was
       given to in step 1, if they overlap at all and by at least `least`. Where several faces want the same anchor, the
       one with the largest IoU gets it (of equal ones the first), and the others take the best of the anchors that no
       face has taken in this step.
    3. Of the anchors that have no face then, those over an ignored face are ignored: by an IoU of at least `below`, by
       half of the anchor or more inside of it, or as its best anchor.

    A box without area, or with a coordinate that is not finite, is no face. An anchor with such a side or coordinate
    overlaps nothing.

    Args:
        anchors: [A, 4], centre x and y, width and height in pixels.
        boxes: [M, 4], x1 y1 x2 y2 in pixels.
        above: see 1; above 0.
        below: see 1; above 0, at most `above`.
        ignored: bool [M], boxes that are neither faces nor background.
        least: see 2.

    Returns:
        int64 [A]: index of the face, or BACKGROUND, or IGNORED.
    """
    frames = _finite_corners(anchors)
    usable = _proper(boxes)
    faces = torch.nonzero(usable & ~ignored).flatten()
    best, face = anchors.new_zeros(len(anchors)), torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
    wanted = []
    for part, common, union in _overlaps(frames, boxes, faces):
        iou = common / union
        value, row = iou.max(0)
        better = value > best
        best, face = torch.where(better, value, best), torch.where(better, part[row], face)
        wanted.append(iou.max(1))
    matches = torch.where(best < below, BACKGROUND, IGNORED)
    for _, common, union in _overlaps(frames, boxes, torch.nonzero(usable & ignored).flatten()):
        iou = common / union
        over = (iou >= below) | (common >= _INSIDE * _areas(frames)) & (common > 0)
        matches[over.any(0)] = IGNORED
        value, anchor = iou.max(1)
        matches[anchor[_counts(value, least)]] = IGNORED
    matches = torch.where(best >= above, face, matches)
    if len(faces):
        value, anchor = (torch.cat(values) for values in zip(*wanted, strict=True))
        _take_best(matches, frames, boxes, (faces, value, anchor), least)
    return matches


def _take_best(
    matches: torch.Tensor,
    frames: torch.Tensor,
    boxes: torch.Tensor,
    wishes: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    least: float,
) -> None:
    """Write the anchors that faces take as their best into matches.

    Wishes are the faces, ascending, their largest IoU and the anchors that have it. In each round the anchors that are
    wanted go to one face each; the faces that got none wish again.
    """
    faces, value, anchor = wishes
    free = torch.ones(len(frames), dtype=torch.bool, device=frames.device)
    while True:
        wants = _counts(value, least)
        faces, value, anchor = faces[wants], value[wants], anchor[wants]
        if not len(faces):
            return
        order = torch.argsort(value, descending=True, stable=True)
        order = order[torch.argsort(anchor[order], stable=True)]  # by anchor; the best face of each comes first
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = anchor[order[1:]] != anchor[order[:-1]]
        winners, losers = order[first], order[~first].sort().values
        matches[anchor[winners]] = faces[winners]
        if not len(losers):
            return
        free[anchor[winners]] = False
        faces = faces[losers]
        again = [torch.where(free, common / union, 0).max(1) for _, common, union in _overlaps(frames, boxes, faces)]
        value, anchor = (torch.cat(values) for values in zip(*again, strict=True))


def _counts(value: torch.Tensor, least: float) -> torch.Tensor:
    return (value > 0) & (value >= least)


def _overlaps(
    frames: torch.Tensor, boxes: torch.Tensor, chosen: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield for some of the chosen boxes at a time their indices, and areas [m, A] of intersection and union."""
    areas = _areas(frames)
    parts = torch.split(chosen, max(1, _ELEMENTS // len(frames))) if len(chosen) else ()
    for part in parts:
        box = boxes[part].to(frames.dtype)[:, None]
        width = torch.minimum(frames[:, 2], box[..., 2]) - torch.maximum(frames[:, 0], box[..., 0])
        height = torch.minimum(frames[:, 3], box[..., 3]) - torch.maximum(frames[:, 1], box[..., 1])
        common = width.clamp_(min=0).mul_(height.clamp_(min=0))
        yield part, common, areas + _areas(box) - common


def _areas(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _finite_corners(anchors: torch.Tensor) -> torch.Tensor:
    """Return anchors as x1 y1 x2 y2; zeros where something is not finite or a side is not above 0."""
    frames = corners(anchors)
    return torch.where(_proper(frames)[:, None], frames, 0)


def _proper(boxes: torch.Tensor) -> torch.Tensor:
    """Return whether boxes have an area, bool [M]. Comparisons with NaN are false."""
    area = _areas(boxes)
    return (boxes[:, 2:] > boxes[:, :2]).all(1) & (area > 0) & (area < torch.inf)
