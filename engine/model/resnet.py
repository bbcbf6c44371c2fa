"""ResNets of 18 to 152 layers. Modules have torchvision's names, so that its checkpoints fit."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from engine.config.model import RetinaFaceConfig


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut; the stride is in the first."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        """Make a block with `width` output channels."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(in_channels, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the block's branch to its shortcut."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut; the stride is in the 3x3 (torchvision's choice)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        """Make a block with 4 * width output channels."""
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _projection(in_channels, out_channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the block's branch to its shortcut."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + shortcut)


def _projection(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


# The kind of block, and the number of blocks in each stage.
_LAYOUTS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}


class ResNetBody(nn.Module):
    """The stem and four stages; their feature maps have strides 4, 8, 16 and 32."""

    def __init__(self, config: RetinaFaceConfig) -> None:
        """Make the stages of the ResNet that the config names."""
        super().__init__()
        block, counts = _LAYOUTS[config.backbone]
        self.out_channels = tuple((64 << i) * block.expansion for i in range(4))
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        in_channels = 64
        stages = []
        for i, count in enumerate(counts):
            stage = [block(in_channels, 64 << i, 1 if i == 0 else 2)]
            in_channels = self.out_channels[i]
            stage += [block(in_channels, 64 << i, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(*stage))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def parts(self) -> list[list[nn.Module]]:
        """Return the modules of the stem, and of each stage behind it."""
        return [[self.conv1, self.bn1], [self.layer1], [self.layer2], [self.layer3], [self.layer4]]

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Map images [N, 3, H, W] to the features, finest first."""
        x = functional.relu(self.bn1(self.conv1(images)))
        c2 = self.layer1(functional.max_pool2d(x, 3, 2, 1))
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return [c2, c3, c4, self.layer4(c4)]
