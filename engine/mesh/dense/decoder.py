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
from engine.mesh.laplacian import chebyshev_basis, scaled_laplacian
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
        self._coarsest = (len(levels.topologies[-1].vertices), widths[-1])
        self.start = nn.Linear(CODE, self._coarsest[0] * self._coarsest[1])
        bases = [chebyshev_basis(scaled_laplacian(topology), order) for topology in levels.topologies]
        self.stages = nn.ModuleList()
        for i in range(len(levels.up) - 1, -1, -1):
            basis = bases[i] @ levels.up[i].matrix(len(levels.kept[i]))
            self.stages.append(ChebConv(widths[i + 1], widths[i], basis))
        self.last = ChebConv(widths[0], 6, bases[0])
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
