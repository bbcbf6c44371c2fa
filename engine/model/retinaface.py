"""RetinaFace: backbone, pyramid, context modules, heads.

Module names follow Pytorch_Retinaface's checkpoints (models/retinaface.py, models/net.py) where it has such a module.
The heads' outputs stay raw: one NCHW tensor per level.
"""

from __future__ import annotations

from pkgutil import resolve_name

import torch
from torch import nn

from engine.config.backbones import BACKBONES
from engine.config.model import BODY_STRIDE, RetinaFaceConfig
from engine.model.context import ContextModule
from engine.model.pyramid import FeaturePyramid

_HEADS = {
    "logits": "ClassHead",
    "box_deltas": "BboxHead",
    "landmark_deltas": "LandmarkHead",
    "anchor_deltas": "AnchorHead",
}


class Head(nn.Module):
    """A 1x1 convolution; channel = anchor * values + component."""

    def __init__(self, channels: int, num_anchors: int, values: int) -> None:
        """Predict `values` numbers per anchor, with `num_anchors` anchors per cell."""
        super().__init__()
        self.conv1x1 = nn.Conv2d(channels, num_anchors * values, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the raw map [N, num_anchors * values, h, w]."""
        out: torch.Tensor = self.conv1x1(x)
        return out


class RetinaFace(nn.Module):
    """The network from normalised pixels to raw heads."""

    def __init__(self, config: RetinaFaceConfig) -> None:
        """Build the layers that `config` describes, with random weights."""
        super().__init__()
        slope, channels = config.negative_slope, config.fpn_channels
        self.config = config
        self.body = resolve_name(BACKBONES[config.backbone].body)(config)
        extra = config.max_stride > BODY_STRIDE
        self._num_features = len(config.levels) - extra
        widths = self.body.out_channels[-self._num_features :]
        self.fpn = FeaturePyramid(widths, channels, slope, extra, config.pyramid)
        self._contexts = _context_names(config)
        for name in dict.fromkeys(self._contexts):
            self.add_module(name, ContextModule(channels, slope, config.context == "deformable"))
        for kind in config.head_kinds():
            heads = (Head(channels, len(v.anchors), config.head_values(kind)) for v in config.levels)
            self.add_module(head_module(kind), nn.ModuleList(heads))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map images float32 [N, 3, H, W], normalised, to the heads in the order of config.head_names()."""
        return self.heads(self.features(images))

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Map images to what the heads read: of each level a map [N, fpn_channels, h, w]."""
        levels: list[torch.Tensor] = self.fpn(self.body(images)[-self._num_features :])
        if self._contexts:
            levels = [self.get_submodule(name)(level) for name, level in zip(self._contexts, levels, strict=True)]
        return levels

    def heads(self, features: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Map features to the heads in the order of config.head_names()."""
        return tuple(self.head(kind, i)(level) for i, level in enumerate(features) for kind in self.config.head_kinds())

    def head(self, kind: str, level: int) -> Head:
        """Return the head of a kind, one of config.head_kinds(), at a level."""
        found = self.get_submodule(f"{head_module(kind)}.{level}")
        assert isinstance(found, Head)
        return found


def head_module(kind: str) -> str:
    """Return the name of the module with the heads of a kind; heads of values have their own names."""
    return _HEADS.get(kind, f"ValueHead_{kind}")


def _context_names(config: RetinaFaceConfig) -> list[str]:
    """Return the name of each level's context module; empty if there are none."""
    if config.context == "none":
        return []
    return ["ssh" if config.context == "shared" else f"ssh{i + 1}" for i in range(len(config.levels))]
