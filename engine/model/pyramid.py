"""The feature pyramid of Pytorch_Retinaface (models/net.py) and its relatives."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from engine.model.mobilenet import conv_bn


class FeaturePyramid(nn.Module):
    """Levels of equal channels. Each one adds the coarser level, upsampled by 2, and is smoothed by a 3x3 convolution.

    output1, output2, ... are the lateral convolutions, finest first; merge1, merge2, ... the smoothing ones. The
    convolution of a level that is coarser than the features is the last of the outputs.
    """

    def __init__(self, in_channels: tuple[int, ...], channels: int, slope: float, extra: bool, kind: str) -> None:
        """Make the convolutions.

        Args:
            in_channels: channels of the features, finest first.
            channels: of every level.
            slope: negative slope of the leaky ReLUs.
            extra: whether a strided 3x3 convolution of the deepest features makes one more level.
            kind: "top-down" or "neighbours"; see RetinaFaceConfig.
        """
        super().__init__()
        self.cumulative = kind == "top-down"
        self.outputs = [f"output{i + 1}" for i in range(len(in_channels))]
        self.merges = [f"merge{i + 1}" for i in range(len(in_channels) - 1)]
        for name, width in zip(self.outputs, in_channels, strict=True):
            self.add_module(name, conv_bn(width, channels, 1, 1, slope))
        for name in self.merges:
            self.add_module(name, conv_bn(channels, channels, 3, 1, slope))
        self.extra = f"output{len(in_channels) + 1}" if extra else None
        if self.extra:
            strided = conv_bn(in_channels[-1], channels, 3, 2, slope)
            # The Knet reproduction has no activation here; its PyTorch relative has one.
            self.add_module(self.extra, strided[:2] if self.cumulative else strided)

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the levels, finest first."""
        levels = [self.get_submodule(name)(x) for name, x in zip(self.outputs, features, strict=True)]
        own = list(levels)
        for i, name in reversed(list(enumerate(self.merges))):
            coarser = levels[i + 1] if self.cumulative else own[i + 1]
            doubled = functional.interpolate(coarser, scale_factor=2.0, mode="nearest")
            levels[i] = self.get_submodule(name)(own[i] + doubled)
        if self.extra:
            levels.append(self.get_submodule(self.extra)(features[-1]))
        return levels
