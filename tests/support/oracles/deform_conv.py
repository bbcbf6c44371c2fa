"""Deformable convolution in float64, from its definition (arXiv 1703.06211, equation 2; 1811.11168, equation 1)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Geometry(NamedTuple):
    """The options of engine.ops.deform_conv; pairs are (height, width), padding is top, left, bottom, right."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    offset_groups: int = 1


def sample(image: Floats, y: Floats, x: Floats) -> Floats:
    """Sample maps [C, H, W] bilinearly at the points (y, x); pixels outside are zero. Returns [C, *points]."""
    _, height, width = image.shape
    inside = (y > -1) & (x > -1) & (y < height) & (x < width)  # false for NaN
    y, x = np.where(inside, y, 0.0), np.where(inside, x, 0.0)
    padded = np.pad(image, ((0, 0), (1, 2), (1, 2)))  # one pixel before the map, two after it
    row, column = np.floor(y).astype(int), np.floor(x).astype(int)
    low_y, low_x = y - row, x - column
    total = np.zeros((image.shape[0], *y.shape))
    for down, share_y in ((0, 1 - low_y), (1, low_y)):
        for right, share_x in ((0, 1 - low_x), (1, low_x)):
            total += share_y * share_x * padded[:, row + 1 + down, column + 1 + right]
    total *= inside
    return total


def deform_conv(
    x: NDArray[np.floating],
    weight: NDArray[np.floating],
    offset: NDArray[np.floating],
    bias: NDArray[np.floating] | None,
    mask: NDArray[np.floating] | None,
    geometry: Geometry,
) -> Floats:
    """Convolve; shapes are those of engine.ops.deform_conv."""
    stride, padding, dilation, groups, offset_groups = geometry
    images, channels, *_ = x.shape
    outputs, group_channels, kernel_h, kernel_w = weight.shape
    height, width = offset.shape[2:]
    offsets = offset.astype(np.float64).reshape(images, offset_groups, kernel_h, kernel_w, 2, height, width)
    masks = np.ones(offsets.shape[:4] + offsets.shape[5:]) if mask is None else mask.astype(np.float64)
    masks = masks.reshape(images, offset_groups, kernel_h, kernel_w, height, width)
    rows, columns = np.mgrid[:height, :width]
    shared = channels // offset_groups  # channels that share offsets
    samples = np.zeros((images, channels, kernel_h, kernel_w, height, width))
    for n, g, i, j in np.ndindex(images, offset_groups, kernel_h, kernel_w):
        y = rows * stride[0] - padding[0] + i * dilation[0] + offsets[n, g, i, j, 0]
        across = columns * stride[1] - padding[1] + j * dilation[1] + offsets[n, g, i, j, 1]
        these = slice(g * shared, (g + 1) * shared)
        samples[n, these, i, j] = sample(x[n, these].astype(np.float64), y, across) * masks[n, g, i, j]

    result = np.zeros((images, outputs, height, width))
    for co in range(outputs):
        first = co // (outputs // groups) * group_channels
        mine = samples[:, first : first + group_channels]
        result[:, co] = np.einsum("ncijhw,cij->nhw", mine, weight[co].astype(np.float64), optimize=True)
    return result if bias is None else result + bias.astype(np.float64)[:, None, None]
