"""What the network is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch


class Sample(NamedTuple):
    """An image with its faces, in pixels of the image.

    Attributes:
        image: uint8 [3, S, S], channels in the order of the config.
        boxes: float32 [N, 4], x1 y1 x2 y2, inside the image.
        landmarks: float32 [N, 5, 2], NaN where a face has none. They may lie outside of the image, where a crop cut
            them off.
        ignored: bool [N]: faces that are neither to be found nor background.
    """

    image: torch.Tensor
    boxes: torch.Tensor
    landmarks: torch.Tensor
    ignored: torch.Tensor


class Batch(NamedTuple):
    """Several samples.

    Attributes:
        images: uint8 [N, 3, S, S].
        boxes: of each sample.
        landmarks: of each sample.
        ignored: of each sample.
    """

    images: torch.Tensor
    boxes: list[torch.Tensor]
    landmarks: list[torch.Tensor]
    ignored: list[torch.Tensor]


def collate(samples: Sequence[Sample]) -> Batch:
    """Put samples of one size together, for PyTorch's DataLoader."""
    images, boxes, landmarks, ignored = zip(*samples, strict=True)
    return Batch(torch.stack(images), list(boxes), list(landmarks), list(ignored))
