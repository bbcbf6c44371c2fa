"""A network with the heads that only its training has."""

from __future__ import annotations

import torch
from torch import nn

from engine.config.model import RetinaFaceConfig
from engine.model.retinaface import Head, RetinaFace


def first_stage_kinds(config: RetinaFaceConfig) -> tuple[str, ...]:
    """Return the kinds of heads that a cascade's first stage has in training only; empty without a cascade."""
    if not config.cascade:
        return ()
    return ("logits", "landmark_deltas") if config.has_landmarks else ("logits",)


class TrainedNetwork(nn.Module):
    """A network as it is trained: with the class and landmark heads of a cascade's first stage.

    They read the same features as the second stage's (docs/development/architecture.md, "A cascade is one more head").
    No checkpoint has them: they begin as copies of the second stage's, so load weights into the network before.
    `network` alone is what is saved and exported. A network without a cascade gets no heads.
    """

    def __init__(self, network: RetinaFace) -> None:
        """Wrap a network, which is shared, not copied."""
        super().__init__()
        self.network = network
        self._kinds = first_stage_kinds(network.config)
        for kind in self._kinds:
            heads = [network.head(kind, i) for i in range(len(network.config.levels))]
            values = network.config.head_values(kind)
            copies = [Head(h.conv1x1.in_channels, h.conv1x1.out_channels // values, values) for h in heads]
            for copy, head in zip(copies, heads, strict=True):
                copy.load_state_dict(head.state_dict())
            self.add_module(f"first_{kind}", nn.ModuleList(copies))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map images float32 [N, 3, H, W], normalised, to what MultiTaskLoss takes.

        That is the network's heads, and behind them of each level those of first_stage_kinds.
        """
        features = self.network.features(images)
        first = [
            self.get_submodule(f"first_{kind}.{i}")(level) for i, level in enumerate(features) for kind in self._kinds
        ]
        return (*self.network.heads(features), *first)
