"""Tensors of PyTorch, whose channels are first or last. Nothing here imports PyTorch: who has a tensor has done so."""

from __future__ import annotations

import sys
from typing import Any

from engine.errors import InvalidArgumentError
from engine.inputs.pixels import CHANNELS, from_array
from engine.types import Color, Image

_CONVERSION = "(x * 255).round().to(torch.uint8)"


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor of PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def from_tensor(tensor: Any, name: str, color: Color, to: Color) -> Image:
    """Return a tensor in the CPU's memory as from_array returns arrays; it may also be [3, H, W], [4, H, W], [1, H, W].

    Raises:
        InvalidArgumentError: another device, layout, dtype or shape, or a shape that can be read in two ways.
    """
    if tensor.device.type != "cpu":
        raise InvalidArgumentError(f"{name} is a tensor on {tensor.device}: copy it to the CPU with .cpu()")
    tensor = with_channels_last(tensor, name)
    try:
        array = tensor.detach().numpy()
    except (RuntimeError, TypeError) as error:
        raise InvalidArgumentError(f"{name} is a tensor that NumPy cannot read: {error}") from error
    return from_array(array, name, color, to)


def with_channels_last(tensor: Any, name: str) -> Any:
    """Return a view of a tensor uint8 [H, W, C] or [C, H, W] as [H, W, C]; of other ranks the tensor itself.

    Raises:
        InvalidArgumentError: another dtype or layout, or a shape that can be read in two ways.
    """
    torch = sys.modules["torch"]
    if tensor.dtype != torch.uint8:
        raise InvalidArgumentError(
            f"{name} is a tensor of {tensor.dtype}, expected torch.uint8 with values 0 to 255: convert values from 0 "
            f"to 1 with {_CONVERSION}, values from 0 to 255 with x.round().clamp(0, 255).to(torch.uint8)"
        )
    if tensor.is_nested or tensor.layout != torch.strided:
        raise InvalidArgumentError(
            f"{name} is a tensor of layout {tensor.layout}, expected a dense one: use .to_dense()"
        )
    shape = tuple(tensor.shape)
    if len(shape) != 3 or shape[0] not in CHANNELS:
        return tensor
    if shape[2] in CHANNELS:
        raise InvalidArgumentError(
            f"{name} has shape {shape}, which can be [H, W, {shape[2]}] or [{shape[0]}, H, W]: give a NumPy array, "
            "which is [H, W, C], with x.numpy(), or x.permute(1, 2, 0).numpy() if the channels are first"
        )
    return tensor.permute(1, 2, 0)
