"""MobileNetV2 (Sandler et al. 2018) of width 1. Modules have torchvision's names, so that its checkpoints fit."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from engine.config.model import RetinaFaceConfig

# Table 2 of the paper: expansion, channels, blocks, stride of the first.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_FIRST, _LAST = 32, 1280
# The last modules of strides 4, 8, 16 and 32, and their channels.
_FEATURES = {3: 24, 6: 32, 13: 96, 18: _LAST}


def _conv_bn_relu6(in_channels: int, out_channels: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """A 1x1 expansion, a 3x3 depthwise and a linear 1x1 convolution, with a shortcut where the shape stays."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        """Make a block; an expansion of 1 has no 1x1 convolution of its own."""
        super().__init__()
        self._has_shortcut = stride == 1 and in_channels == out_channels
        hidden = in_channels * expansion
        expand = [_conv_bn_relu6(in_channels, hidden, 1, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *expand,
            _conv_bn_relu6(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve, and add the shortcut."""
        y: torch.Tensor = self.conv(x)
        return x + y if self._has_shortcut else y


class MobileNetV2Body(nn.Module):
    """All of MobileNetV2 before its classifier, with features of strides 4, 8, 16 and 32."""

    out_channels = tuple(_FEATURES.values())

    def __init__(self, config: RetinaFaceConfig) -> None:
        """Make the blocks; the config has no setting for them."""
        super().__init__()
        features: list[nn.Module] = [_conv_bn_relu6(3, _FIRST, 3, 2)]
        channels = _FIRST
        for expansion, width, count, stride in _STAGES:
            for i in range(count):
                features.append(InvertedResidual(channels, width, stride if i == 0 else 1, expansion))
                channels = width
        self.features = nn.Sequential(*features, _conv_bn_relu6(channels, _LAST, 1, 1))

    def parts(self) -> list[list[nn.Module]]:
        """Return the modules of the stem, and of each stage behind it, which ends with a feature map."""
        ends = [1, *(last + 1 for last in _FEATURES)]
        stages = [list(self.features)[begin:end] for begin, end in pairwise(ends)]
        return [[self.features[0]], *stages]

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Map images [N, 3, H, W] to the features of strides 4, 8, 16 and 32."""
        x, found = images, []
        for i, block in enumerate(self.features):
            x = block(x)
            if i in _FEATURES:
                found.append(x)
        return found
