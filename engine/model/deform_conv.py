"""Deformable convolution for PyTorch, without torchvision: one operator, exported as one ONNX node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from engine.config.detection import OPSET

_KERNEL, _PADDING = 3, 1


class DeformableConv(nn.Conv2d):
    """A 3x3 deformable convolution without bias; another 3x3 convolution predicts the offsets of its taps.

    The offsets' weights begin as zeros, so that the weights of a plain convolution give its plain output. This is
    version 1 (Dai et al. 2017), as in the published models. Version 2's modulation begins at one half, which would
    change the output of a plain checkpoint.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Make the convolution; it keeps the size of the map."""
        super().__init__(in_channels, out_channels, _KERNEL, 1, _PADDING, bias=False)
        self.offset = nn.Conv2d(in_channels, 2 * _KERNEL**2, _KERNEL, 1, _PADDING)
        nn.init.zeros_(self.offset.weight)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Predict offsets, sample and convolve."""
        moved: torch.Tensor = _deform_conv(x, self.weight, self.offset(x))
        return moved


def deform_conv(x: torch.Tensor, weight: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Convolve with offset taps; the PyTorch implementation of the operator.

    Args:
        x: [N, Ci, h, w].
        weight: [Co, Ci, 3, 3].
        offset: [N, 18, h, w], (dy, dx) of each tap in pixels.

    Returns:
        [N, Co, h, w].
    """
    height, width = x.shape[2:]
    rows = torch.arange(height, dtype=offset.dtype, device=offset.device)[:, None]
    columns = torch.arange(width, dtype=offset.dtype, device=offset.device)
    out = x.new_zeros(x.shape[0], weight.shape[0], height, width)
    for tap in range(_KERNEL**2):
        row, column = divmod(tap, _KERNEL)
        y = rows + (row - _PADDING) + offset[:, 2 * tap]
        z = columns + (column - _PADDING) + offset[:, 2 * tap + 1]
        out += functional.conv2d(_sample(x, y, z), weight[:, :, row : row + 1, column : column + 1])
    return out


# A custom operator, so that it is exported as one node.
_deform_conv = torch.library.custom_op("retinaface::deform_conv", deform_conv, mutates_args=())


@_deform_conv.register_fake
def _(x: torch.Tensor, weight: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    return x.new_empty(x.shape[0], weight.shape[0], *x.shape[2:])


def _keep_inputs(ctx: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    """Recompute the output with gradients: only the inputs were kept (gradient checkpointing)."""
    inputs = [
        tensor.detach().requires_grad_(needed)
        for tensor, needed in zip(ctx.saved_tensors, ctx.needs_input_grad, strict=True)
    ]
    with torch.enable_grad():
        output = deform_conv(*inputs)
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    gradients = iter(torch.autograd.grad(output, wanted, gradient))
    return tuple(next(gradients) if tensor.requires_grad else None for tensor in inputs)


_deform_conv.register_autograd(_backward, setup_context=_keep_inputs)


def _sample(x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Sample x [N, C, h, w] bilinearly at rows and columns, both [N, h, w]; zero outside the map."""
    height, width = x.shape[2:]
    top, left = rows.floor(), columns.floor()
    sampled = torch.zeros_like(x)
    for row, row_share in ((top, 1 - (rows - top)), (top + 1, rows - top)):
        for column, column_share in ((left, 1 - (columns - left)), (left + 1, columns - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            index = place.long().flatten(1)[:, None].expand(-1, x.shape[1], -1)
            pixels = x.flatten(2).gather(2, index).view_as(x)
            sampled += pixels * (row_share * column_share * inside)[:, None]
    return sampled


def onnx_translations() -> dict[Any, Callable[..., Any]]:
    """Return the translation of the operator to ONNX's DeformConv, for torch.onnx.export."""
    import onnxscript

    opset = onnxscript.values.Opset("", OPSET)

    def deform_conv(x: Any, weight: Any, offset: Any) -> Any:
        return opset.DeformConv(x, weight, offset, kernel_shape=[_KERNEL] * 2, pads=[_PADDING] * 4)

    return {torch.ops.retinaface.deform_conv.default: deform_conv}
