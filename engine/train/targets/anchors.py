"""The anchors of a config, in the order of the network's heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError


def anchors_of(config: RetinaFaceConfig, height: int, width: int) -> torch.Tensor:
    """Return all anchors of an input, as the decoder places them (csrc/math/decode.h).

    Args:
        config: of the model.
        height: of the network's input in pixels.
        width: of the network's input in pixels.

    Returns:
        float32 [A, 4]: centre x and y, width and height in pixels; level by level, in each row by row, in each cell in
        the order of `PyramidLevel.anchors`.

    Raises:
        InvalidArgumentError: the network does not take such an input.
    """
    config.check_input_size(height, width)
    return anchors_of_maps(config, [config.map_size(level, height, width) for level in config.levels])


def anchors_of_maps(config: RetinaFaceConfig, sizes: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Return all anchors for levels of the given rows and columns, like anchors_of."""
    parts = []
    for level, (rows, columns) in zip(config.levels, sizes, strict=True):
        y = (torch.arange(rows, dtype=torch.float32) + 0.5) * level.stride
        x = (torch.arange(columns, dtype=torch.float32) + 0.5) * level.stride
        sides = torch.tensor(level.anchors, dtype=torch.float32)
        anchors = torch.empty(rows, columns, len(sides), 4)
        anchors[..., 0] = x[None, :, None]
        anchors[..., 1] = y[:, None, None]
        anchors[..., 2:] = sides
        parts.append(anchors.reshape(-1, 4))
    return torch.cat(parts)


def per_anchor(heads: Sequence[torch.Tensor], kind: str, values: int) -> torch.Tensor:
    """Return the heads of one kind, a map [N, anchors * values, rows, columns] of each level, as [N, A, values].

    Raises:
        InvalidArgumentError: a head's channels are not a multiple of the kind's values.
    """
    parts = []
    for head in heads:
        if head.ndim != 4 or head.shape[1] % values:
            raise InvalidArgumentError(
                f"a {kind} head has the shape {tuple(head.shape)}, expected [N, anchors * {values}, rows, columns]"
            )
        batch, channels, rows, columns = head.shape
        cells = head.reshape(batch, channels // values, values, rows, columns).permute(0, 3, 4, 1, 2)
        parts.append(cells.reshape(batch, -1, values))
    return torch.cat(parts, 1)
