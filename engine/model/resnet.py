"""ResNet with bottleneck blocks; module names equal torchvision's, so that its checkpoints' keys fit."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

_EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut; the stride is in the 3x3 (torchvision's choice)."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        """Make a block with 4 * width output channels."""
        super().__init__()
        out_channels = width * _EXPANSION
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the block's branch to its shortcut."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + shortcut)


class ResNetBody(nn.Module):
    """The stem and four stages; the last three feed the pyramid at strides 8, 16 and 32."""

    out_channels = (512, 1024, 2048)

    def __init__(self, blocks: tuple[int, int, int, int]) -> None:
        """Make stages of the given numbers of blocks: (3, 4, 6, 3) is ResNet-50."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        in_channels = 64
        stages = []
        for i, count in enumerate(blocks):
            width = 64 << i
            stage = [Bottleneck(in_channels, width, 1 if i == 0 else 2)]
            in_channels = width * _EXPANSION
            stage += [Bottleneck(in_channels, width, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(*stage))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map images [N, 3, H, W] to the features at strides 8, 16 and 32."""
        x = functional.relu(self.bn1(self.conv1(images)))
        x = self.layer1(functional.max_pool2d(x, 3, 2, 1))
        c3 = self.layer2(x)
        c4 = self.layer3(c3)
        return c3, c4, self.layer4(c4)
