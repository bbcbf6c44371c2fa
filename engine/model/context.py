"""SSH's context module, with plain or deformable convolutions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from engine.model.deform_conv import DeformableConv


class ContextModule(nn.Module):
    """3x3, 5x5 and 7x7 receptive fields from chained 3x3 convolutions."""

    def __init__(self, channels: int, slope: float, deformable: bool) -> None:
        """Split the channels over the three fields: a half and two quarters."""
        super().__init__()
        half, quarter = channels // 2, channels // 4

        def linear(in_channels: int, out_channels: int) -> list[nn.Module]:
            conv = (
                DeformableConv(in_channels, out_channels)
                if deformable
                else nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False)
            )
            return [conv, nn.BatchNorm2d(out_channels)]

        self.conv3X3 = nn.Sequential(*linear(channels, half))
        self.conv5X5_1 = nn.Sequential(*linear(channels, quarter), nn.LeakyReLU(slope))
        self.conv5X5_2 = nn.Sequential(*linear(quarter, quarter))
        self.conv7X7_2 = nn.Sequential(*linear(quarter, quarter), nn.LeakyReLU(slope))
        self.conv7x7_3 = nn.Sequential(*linear(quarter, quarter))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the three fields, concatenated."""
        shared = self.conv5X5_1(x)
        fields = [self.conv3X3(x), self.conv5X5_2(shared), self.conv7x7_3(self.conv7X7_2(shared))]
        return functional.relu(torch.cat(fields, dim=1))
