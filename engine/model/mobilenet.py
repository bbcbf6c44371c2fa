"""MobileNetV1 in three widths, in the layout of Pytorch_Retinaface (models/net.py)."""

from __future__ import annotations

import torch
from torch import nn

from engine.config.model import RetinaFaceConfig

# Channels of the first convolution.
_WIDTHS = {"mobilenet0.25": 8, "mobilenet0.5": 16, "mobilenet1.0": 32}
_BLOCKS_BEFORE_STRIDE_8 = 4


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
    """Three stages of strides 8, 16 and 32; the first has features of stride 4 inside."""

    def __init__(self, config: RetinaFaceConfig) -> None:
        """Make the stages in the width that the config's backbone names, with leaky ReLUs of its slope."""
        super().__init__()
        slope, _ = config.slopes
        width = _WIDTHS[config.backbone]
        self.out_channels = tuple(width * multiple for multiple in (4, 8, 16, 32))

        def stage(*blocks: tuple[int, int, int]) -> list[nn.Sequential]:
            return [conv_depthwise(width * before, width * after, stride, slope) for before, after, stride in blocks]

        self.stage1 = nn.Sequential(
            conv_bn(3, width, 3, 2, slope), *stage((1, 2, 1), (2, 4, 2), (4, 4, 1), (4, 8, 2), (8, 8, 1))
        )
        self.stage2 = nn.Sequential(*stage((8, 16, 2), *[(16, 16, 1)] * 5))
        self.stage3 = nn.Sequential(*stage((16, 32, 2), (32, 32, 1)))

    def parts(self) -> list[list[nn.Module]]:
        """Return the modules of the stem, and of each stage behind it."""
        return [[self.stage1[0]], list(self.stage1)[1:], [self.stage2], [self.stage3]]

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Map images [N, 3, H, W] to the features of strides 4, 8, 16 and 32."""
        c2 = self.stage1[:_BLOCKS_BEFORE_STRIDE_8](images)
        c3 = self.stage1[_BLOCKS_BEFORE_STRIDE_8:](c2)
        c4 = self.stage2(c3)
        return [c2, c3, c4, self.stage3(c4)]
