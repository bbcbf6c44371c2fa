"""MobileNetV1 with width multiplier 0.25, in the layout of Pytorch_Retinaface (models/net.py)."""

from __future__ import annotations

import torch
from torch import nn

from engine.config.model import RetinaFaceConfig


def conv_bn(
    in_channels: int, out_channels: int, kernel: int, stride: int, slope: float, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch normalisation, leaky ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(slope),
    )


def conv_depthwise(in_channels: int, out_channels: int, stride: int, slope: float) -> nn.Sequential:
    """A 3x3 depthwise and a 1x1 convolution, each with batch normalisation and leaky ReLU."""
    depthwise = conv_bn(in_channels, in_channels, 3, stride, slope, groups=in_channels)
    return nn.Sequential(*depthwise, *conv_bn(in_channels, out_channels, 1, 1, slope))


class MobileNetBody(nn.Module):
    """Three stages with 64, 128 and 256 channels at strides 8, 16 and 32."""

    out_channels = (64, 128, 256)

    def __init__(self, config: RetinaFaceConfig) -> None:
        """Use leaky ReLUs of the config's negative slope."""
        super().__init__()
        slope = config.negative_slope

        def stage(*blocks: tuple[int, int, int]) -> list[nn.Sequential]:
            return [conv_depthwise(*block, slope) for block in blocks]

        self.stage1 = nn.Sequential(
            conv_bn(3, 8, 3, 2, slope),
            *stage((8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)),
        )
        self.stage2 = nn.Sequential(*stage((64, 128, 2), *[(128, 128, 1)] * 5))
        self.stage3 = nn.Sequential(*stage((128, 256, 2), (256, 256, 1)))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Map images [N, 3, H, W] to the features, finest first."""
        c3 = self.stage1(images)
        c4 = self.stage2(c3)
        return [c3, c4, self.stage3(c4)]
