"""What the network is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from engine.config.model import RetinaFaceConfig


class Sample(NamedTuple):
    """An image with its faces, in pixels of the image.

    Attributes:
        image: uint8 [3, S, S], channels in the order of the config.
        boxes: float32 [N, 4], x1 y1 x2 y2, inside the image.
        landmarks: float32 [N, L, 2], NaN where a face has none. They may lie outside of the image, where a crop cut
            them off.
        ignored: bool [N]: faces that are neither to be found nor background.
        classes: int64 [N], from 1.
        values: float32 [N, D], of the heads of values one after the other, points in pixels as landmarks; NaN where a
            face has none.
    """

    image: torch.Tensor
    boxes: torch.Tensor
    landmarks: torch.Tensor
    ignored: torch.Tensor
    classes: torch.Tensor
    values: torch.Tensor


class Batch(NamedTuple):
    """Several samples.

    Attributes:
        images: uint8 [N, 3, S, S].
        boxes: of each sample.
        landmarks: of each sample.
        ignored: of each sample.
        classes: of each sample.
        values: of each sample.
    """

    images: torch.Tensor
    boxes: list[torch.Tensor]
    landmarks: list[torch.Tensor]
    ignored: list[torch.Tensor]
    classes: list[torch.Tensor]
    values: list[torch.Tensor]


def collate(samples: Sequence[Sample]) -> Batch:
    """Put samples of one size together, for PyTorch's DataLoader."""
    images, *faces = zip(*samples, strict=True)
    return Batch(torch.stack(images), *map(list, faces))


class Normaliser:
    """Turns grey levels into the network's input, as letterboxing does."""

    def __init__(self, config: RetinaFaceConfig, device: torch.device) -> None:
        """Take the config's mean and std."""
        self._mean, self._std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (config.mean, config.std))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 [N, 3, S, S] to float32."""
        return (images.float() - self._mean) / self._std


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch whose tensors are on a device."""
    if device.type == "cpu":
        return batch
    lists = ([value.to(device, non_blocking=True) for value in part] for part in batch[1:])
    return Batch(batch.images.to(device, non_blocking=True), *lists)
