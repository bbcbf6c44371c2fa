"""What the operators are compared with: torchvision's, and plain PyTorch."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def torchvision_ops() -> Any | None:
    """Return torchvision.ops; None if torchvision cannot be imported."""
    try:
        return importlib.import_module("torchvision").ops
    except (ImportError, RuntimeError):
        return None


def decode(
    heads: Sequence[tuple[Tensor, Tensor, Tensor]],
    strides: Sequence[int],
    anchor_sizes: Sequence[Sequence[float]],
    score_threshold: float,
    top_k: int,
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Decode heads [N, 2A, h, w], [N, 4A, h, w] and [N, 10A, h, w] of each level.

    Returns:
        For each image boxes [K, 4], scores [K] and landmarks [K, 10] of its best candidates.
    """
    scores, boxes, landmarks = [], [], []
    for (logits, box_deltas, landmark_deltas), stride, sizes in zip(heads, strides, anchor_sizes, strict=True):
        batch, _, height, width = logits.shape
        anchors = len(sizes)
        flat = [_by_anchor(head, anchors) for head in (logits, box_deltas, landmark_deltas)]
        y, x = torch.meshgrid(
            torch.arange(height, device=logits.device), torch.arange(width, device=logits.device), indexing="ij"
        )
        centres = (torch.stack([x, y], -1).reshape(-1, 1, 2) + 0.5) * stride
        centres = centres.expand(-1, anchors, -1).reshape(1, -1, 2)
        sides = torch.tensor(sizes, device=logits.device).repeat(height * width).reshape(1, -1, 1)
        scores.append(flat[0].softmax(-1)[..., 1])
        middle = centres + flat[1][..., :2] * 0.1 * sides
        half = sides * torch.exp(flat[1][..., 2:] * 0.2) / 2
        boxes.append(torch.cat([middle - half, middle + half], -1))
        points = centres.unsqueeze(2) + flat[2].reshape(batch, -1, 5, 2) * 0.1 * sides.unsqueeze(2)
        landmarks.append(points.reshape(batch, -1, 10))
    all_scores, all_boxes, all_landmarks = (torch.cat(parts, 1) for parts in (scores, boxes, landmarks))
    results = []
    for score, box, points in zip(all_scores, all_boxes, all_landmarks, strict=True):
        best, order = torch.where(score > score_threshold, score, -1.0).topk(min(top_k, len(score)))
        kept = order[best > 0]
        results.append((box[kept], score[kept], points[kept]))
    return results


def _by_anchor(head: Tensor, anchors: int) -> Tensor:
    """[N, A * C, h, w] to [N, h * w * A, C]."""
    batch, channels, height, width = head.shape
    parts = head.reshape(batch, anchors, channels // anchors, height, width)
    return parts.permute(0, 3, 4, 1, 2).reshape(batch, -1, channels // anchors)


def letterbox(images: Sequence[Tensor], size: tuple[int, int], mean: float) -> Tensor:
    """Scale uint8 [H, W, 3] images bilinearly to fit into a size, centre them on grey, subtract the mean."""
    height, width = size
    batch = torch.zeros(len(images), 3, height, width, device=images[0].device)
    for target, image in zip(batch, images, strict=True):
        scale = min(height / image.shape[0], width / image.shape[1])
        h, w = round(image.shape[0] * scale), round(image.shape[1] * scale)
        planes = image.permute(2, 0, 1)[None].float()
        top, left = (height - h) // 2, (width - w) // 2
        target[:, top : top + h, left : left + w] = functional.interpolate(planes, (h, w), mode="bilinear")[0] - mean
    return batch


def align(image: Tensor, transforms: Tensor, size: tuple[int, int]) -> Tensor:
    """Sample uint8 crops [N, height, width, 3] of an image [H, W, 3] bilinearly, with zeros around it.

    `transforms` [N, 2, 3] take pixels (x, y) of a crop to pixels of the image; ours estimates them too.
    """
    height, width = image.shape[:2]
    y, x = torch.meshgrid(*(torch.arange(float(side), device=image.device) for side in size), indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], -1) @ transforms[:, None].mT
    grid = (2 * places + 1) / torch.tensor([width, height], device=image.device) - 1
    planes = image.permute(2, 0, 1)[None].float().expand(len(transforms), -1, -1, -1)
    crops = functional.grid_sample(planes, grid, align_corners=False)
    return crops.permute(0, 2, 3, 1).round().to(torch.uint8)
