"""The registry of backbones: everything that the rest of the engine knows about one stands in its entry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backbone:
    """A network from an image to feature maps.

    Attributes:
        body: "module:class" of the PyTorch module, a name so that settings load without PyTorch. It is made from a
            RetinaFaceConfig, maps images [N, 3, H, W] to a list of feature maps, finest first, and has their channels
            in `out_channels`.
        strides: pixels of the input per cell of each feature map, finest first; the last is BODY_STRIDE.
    """

    body: str
    strides: tuple[int, ...]

    def level_strides(self) -> list[tuple[int, ...]]:
        """Strides that a pyramid on these features can have: from stride 8 or finer, with or without a level of 64."""
        starts = [self.strides[i:] for i, stride in enumerate(self.strides) if stride <= 8]
        return [(*strides, *extra) for strides in reversed(starts) for extra in ((), (64,))]


BACKBONES = {
    "mobilenet0.25": Backbone("engine.model.mobilenet:MobileNetBody", (8, 16, 32)),
    **{
        f"resnet{layers}": Backbone("engine.model.resnet:ResNetBody", (4, 8, 16, 32))
        for layers in (18, 34, 50, 101, 152)
    },
}
