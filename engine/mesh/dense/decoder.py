"""From a code to the coloured vertices of a mesh."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from engine.errors import InvalidArgumentError
from engine.mesh.dense.convolution import ChebConv
from engine.mesh.dense.values import CODE
from engine.mesh.dense.weights import DecoderWeights, bases
from engine.mesh.levels import MeshLevels

ORDER, CHANNELS = 3, 16
_GREY = 0.5
_SMALL = 0.01  # part of usual weights: the first meshes are close to the topology's own, but not equal


class MeshDecoder(nn.Module):
    """A linear layer to the coarsest level, then up-sampling and a Chebyshev convolution for each finer one.

    It decodes shape and texture together: differences from the topology's vertices and from grey.

    Source: the decoder of Ranjan et al. 2018, section 4.1; jointly with texture, Zhou et al. 2019, section 3.
    """

    template: torch.Tensor

    def __init__(self, levels: MeshLevels, channels: Sequence[int] | None = None, order: int = ORDER) -> None:
        """Make the layers, with random weights.

        Args:
            levels: of the mesh; the finest is decoded.
            channels: of the features of each level, finest first; by default 16 each.
            order: number of Chebyshev polynomials of each convolution.

        Raises:
            InvalidArgumentError: there are not as many channels as levels, or the order is below 1.
        """
        super().__init__()
        widths = [CHANNELS] * len(levels.topologies) if channels is None else list(channels)
        if len(widths) != len(levels.topologies) or min(widths) < 1:
            raise InvalidArgumentError(
                f"the decoder has channels {widths}, expected a number for each of {len(levels.topologies)} levels, "
                "finest first"
            )
        self._levels = levels
        self._coarsest = (len(levels.topologies[-1].vertices), widths[-1])
        self.start = nn.Linear(CODE, self._coarsest[0] * self._coarsest[1])
        *stages, last = bases(levels, order)
        pairs = zip(widths[:0:-1], widths[-2::-1], stages, strict=True)
        self.stages = nn.ModuleList(ChebConv(channels, out, basis) for channels, out, basis in pairs)
        self.last = ChebConv(widths[0], 6, last)
        with torch.no_grad():
            self.last.weight.mul_(_SMALL)
        template = np.concatenate([levels.topology.vertices, np.full_like(levels.topology.vertices, _GREY)], axis=1)
        self.register_buffer("template", torch.from_numpy(template), persistent=False)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Map codes [N, 128] to vertices [N, V, 6]: x, y, z in units of half the mesh; red, green, blue, 0 to 1."""
        vertices, channels = self._coarsest
        x = self.start(codes).reshape(-1, vertices, channels).transpose(0, 1)
        for stage in self.stages:
            x = stage(functional.elu(x))
        decoded: torch.Tensor = self.last(functional.elu(x))
        return decoded.transpose(0, 1) + self.template

    def weights(self) -> DecoderWeights:
        """Return a copy of everything, to be saved and to run without PyTorch."""
        return DecoderWeights(self._levels, {name: value.numpy().copy() for name, value in self.state_dict().items()})

    @classmethod
    def of(cls, weights: DecoderWeights) -> MeshDecoder:
        """Make a decoder with weights that were saved."""
        decoder = cls(weights.levels, weights.channels(), weights.order)
        decoder.load_state_dict({name: torch.from_numpy(value) for name, value in weights.tensors.items()})
        return decoder
