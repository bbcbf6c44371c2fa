"""Boxes and landmarks as a network predicts them: relative to an anchor.

The SSD coding with variances of Pytorch_Retinaface (utils/box_utils.py): offsets in units of variance * side,
logarithms of sides in units of variance. Variances are (of offsets, of sizes); (1, 1) is the coding of the paper, arXiv
1905.00641. All functions broadcast over the leading dimensions and are differentiable.
"""

from __future__ import annotations

import torch

Variances = tuple[float, float]


def encode_boxes(boxes: torch.Tensor, anchors: torch.Tensor, variances: Variances) -> torch.Tensor:
    """Return the deltas [..., 4] that move anchors onto boxes.

    Args:
        boxes: [..., 4], x1 y1 x2 y2 in pixels, with sides above 0.
        anchors: [..., 4], centre x and y, width and height in pixels.
        variances: of the config.
    """
    centres, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    offsets = (centres - anchors[..., :2]) / (variances[0] * anchors[..., 2:])
    return torch.cat([offsets, torch.log(sides / anchors[..., 2:]) / variances[1]], -1)


def move_anchors(deltas: torch.Tensor, anchors: torch.Tensor, variances: Variances) -> torch.Tensor:
    """Return anchors [..., 4], centre and sides, moved and stretched by deltas: a cascade's next anchors."""
    centres = anchors[..., :2] + deltas[..., :2] * variances[0] * anchors[..., 2:]
    return torch.cat([centres, anchors[..., 2:] * torch.exp(deltas[..., 2:] * variances[1])], -1)


def decode_boxes(deltas: torch.Tensor, anchors: torch.Tensor, variances: Variances) -> torch.Tensor:
    """Return the boxes [..., 4], x1 y1 x2 y2 in pixels, that deltas mean: the inverse of encode_boxes."""
    return corners(move_anchors(deltas, anchors, variances))


def corners(anchors: torch.Tensor) -> torch.Tensor:
    """Return anchors [..., 4], centre and sides, as x1 y1 x2 y2."""
    half = anchors[..., 2:] / 2
    return torch.cat([anchors[..., :2] - half, anchors[..., :2] + half], -1)


def encode_landmarks(landmarks: torch.Tensor, anchors: torch.Tensor, variances: Variances) -> torch.Tensor:
    """Return landmarks [..., L, 2] in pixels as offsets [..., 2 L]: x and y of the first point, of the second, ..."""
    offsets = (landmarks - anchors[..., None, :2]) / (variances[0] * anchors[..., None, 2:])
    return offsets.flatten(-2)
