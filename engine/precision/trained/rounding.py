"""Fake quantisation that gradients pass through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engine.config.formats import NumberFormat
from engine.precision.qdq.simulate import to_grid, to_half


def quantise(x: Tensor, scale: Tensor, kind: NumberFormat) -> Tensor:
    """Quantise and dequantise, with gradients for values and scale.

    Rounding has the gradient of the identity; values that saturate have none. The scale's gradient is that of
    Esser et al., Learned Step Size Quantization (2020).

    Args:
        x: values, float32.
        scale: broadcasts to `x`.
        kind: number format to round to.
    """
    rounded: Tensor = _Quantise.apply(x, scale, kind)  # type: ignore[no-untyped-call]
    return rounded


def as_half(scale: Tensor) -> Tensor:
    """Round scales to float16, with the gradient of the identity."""
    return scale + (to_half(scale) - scale).detach()


class _Quantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, kind: NumberFormat) -> Tensor:
        y = x / scale
        on_grid = to_grid(y, kind)
        inside = (y >= kind.lowest) & (y <= kind.largest)
        # d(on_grid * scale) / d scale, where on_grid counts as y plus a constant.
        ctx.save_for_backward(inside, on_grid - y * inside if ctx.needs_input_grad[1] else None)
        ctx.scale_shape = scale.shape
        return on_grid * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (gradient,) = gradients
        inside, by_scale = ctx.saved_tensors
        of_scale = None if by_scale is None else (gradient * by_scale).sum_to_size(ctx.scale_shape)
        return gradient * inside, of_scale, None
