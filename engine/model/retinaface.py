"""RetinaFace of Pytorch_Retinaface (models/retinaface.py, models/net.py): body, pyramid, context modules, heads.

Module names follow the public checkpoints; the heads' outputs stay raw, one NCHW tensor a level.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from engine.config import RetinaFaceConfig
from engine.model.mobilenet import MobileNetBody, conv_bn
from engine.model.resnet import ResNetBody


class FeaturePyramid(nn.Module):
    """Three levels; each finer one is the sum of its own and the upsampled coarser one, smoothed by a 3x3."""

    def __init__(self, in_channels: tuple[int, ...], channels: int, slope: float) -> None:
        """Take features of `in_channels`, finest first, to `channels` each."""
        super().__init__()
        self.output1, self.output2, self.output3 = (conv_bn(c, channels, 1, 1, slope) for c in in_channels)
        self.merge1 = conv_bn(channels, channels, 3, 1, slope)
        self.merge2 = conv_bn(channels, channels, 3, 1, slope)

    def forward(self, c3: torch.Tensor, c4: torch.Tensor, c5: torch.Tensor) -> list[torch.Tensor]:
        """Return the levels, finest first."""
        p3, p4, p5 = self.output1(c3), self.output2(c4), self.output3(c5)
        p4 = self.merge2(p4 + functional.interpolate(p5, scale_factor=2.0, mode="nearest"))
        p3 = self.merge1(p3 + functional.interpolate(p4, scale_factor=2.0, mode="nearest"))
        return [p3, p4, p5]


def _conv_bn_linear(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False), nn.BatchNorm2d(out_channels))


class ContextModule(nn.Module):
    """SSH's context module: 3x3, 5x5 and 7x7 receptive fields from chained 3x3 convolutions."""

    def __init__(self, channels: int, slope: float) -> None:
        """Keep the number of channels: a half and two quarters."""
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.conv3X3 = _conv_bn_linear(channels, half)
        self.conv5X5_1 = conv_bn(channels, quarter, 3, 1, slope)
        self.conv5X5_2 = _conv_bn_linear(quarter, quarter)
        self.conv7X7_2 = conv_bn(quarter, quarter, 3, 1, slope)
        self.conv7x7_3 = _conv_bn_linear(quarter, quarter)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Concatenate the three fields."""
        shared = self.conv5X5_1(x)
        fields = [self.conv3X3(x), self.conv5X5_2(shared), self.conv7x7_3(self.conv7X7_2(shared))]
        return functional.relu(torch.cat(fields, dim=1))


class Head(nn.Module):
    """A 1x1 convolution; channel = anchor * values + component."""

    def __init__(self, channels: int, num_anchors: int, values: int) -> None:
        """Predict `values` numbers for each anchor of a cell."""
        super().__init__()
        self.conv1x1 = nn.Conv2d(channels, num_anchors * values, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the raw map [N, num_anchors * values, h, w]."""
        out: torch.Tensor = self.conv1x1(x)
        return out


class RetinaFace(nn.Module):
    """The network from normalised pixels to raw heads."""

    def __init__(self, config: RetinaFaceConfig) -> None:
        """Build the layers that `config` names, randomly initialised."""
        super().__init__()
        slope, channels = config.negative_slope, config.fpn_channels
        self.config = config
        self.body = MobileNetBody(slope) if config.backbone == "mobilenet0.25" else ResNetBody((3, 4, 6, 3))
        self.fpn = FeaturePyramid(self.body.out_channels, channels, slope)
        self.ssh1, self.ssh2, self.ssh3 = (ContextModule(channels, slope) for _ in config.levels)

        def heads(values: int) -> nn.ModuleList:
            return nn.ModuleList(Head(channels, len(level.anchor_sizes), values) for level in config.levels)

        self.ClassHead = heads(2)
        self.BboxHead = heads(4)
        if config.has_landmarks:
            self.LandmarkHead = heads(10)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map images float32 [N, 3, H, W], normalised, to the heads in the order of config.head_names()."""
        levels = self.fpn(*self.body(images))
        outputs: list[torch.Tensor] = []
        for i, (level, context) in enumerate(zip(levels, (self.ssh1, self.ssh2, self.ssh3), strict=True)):
            features = context(level)
            outputs += [self.ClassHead[i](features), self.BboxHead[i](features)]
            if self.config.has_landmarks:
                outputs.append(self.LandmarkHead[i](features))
        return tuple(outputs)
