"""The registry of backbones: one entry says all that the rest of the engine knows about a backbone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backbone:
    """A network from an image to feature maps.

    Attributes:
        body: "module:class" of the PyTorch module; a string, so that settings load without PyTorch. The class takes a
            RetinaFaceConfig. The module maps images [N, 3, H, W] to a list of feature maps, finest first, whose
            channels are in its `out_channels`. Its `parts()` are lists of modules, which training may freeze: the
            stem's, then those of each stage.
        strides: pixels of the input per cell of each feature map, finest first; the last is BODY_STRIDE.
        leaky: whether its activations are leaky ReLUs of the config's slope.
    """

    body: str
    strides: tuple[int, ...]
    leaky: bool = False

    def level_strides(self) -> list[tuple[int, ...]]:
        """Return the possible strides of a pyramid: from 8 or a finer one to 32, with or without a level of 64."""
        starts = [self.strides[i:] for i, stride in enumerate(self.strides) if stride <= 8]
        return [(*strides, *extra) for strides in reversed(starts) for extra in ((), (64,))]


BACKBONES = {
    **{
        name: Backbone("engine.model.mobilenet:MobileNetBody", (4, 8, 16, 32), leaky=True)
        for name in ("mobilenet0.25", "mobilenet0.5", "mobilenet1.0")
    },
    "mobilenetv2": Backbone("engine.model.mobilenet_v2:MobileNetV2Body", (4, 8, 16, 32)),
    **{
        f"resnet{layers}": Backbone("engine.model.resnet:ResNetBody", (4, 8, 16, 32))
        for layers in (18, 34, 50, 101, 152)
    },
}
