"""Chebyshev graph convolution as products of dense matrices, which every runtime has."""

from __future__ import annotations

import math

import torch
from torch import nn

from engine.types import FloatArray


class ChebConv(nn.Module):
    """y = sum over k of T_k x W_k + b, with the Chebyshev polynomials T_k of a mesh's Laplacian.

    Where an up-sampling U comes before it, the basis is T_k U: both are one product, with as few columns as the coarse
    mesh has vertices.

    The features of a batch are [V, N, C]. So the polynomials meet all of a batch in one product, and the weights in
    another; the one that leaves fewer channels to the other comes first.

    Source: Defferrard, Bresson and Vandergheynst 2016, equation 5; Ranjan et al. 2018, equation 3.
    """

    basis: torch.Tensor

    def __init__(self, in_channels: int, out_channels: int, basis: FloatArray) -> None:
        """Make the convolution, with random weights and a bias of zero.

        Args:
            in_channels: C.
            out_channels: C'.
            basis: float32 [K, V', V]: T_k, or T_k U. It is not in the state_dict, since the mesh gives it.
        """
        super().__init__()
        order = len(basis)
        self.register_buffer("basis", torch.from_numpy(basis), persistent=False)
        self.weight = nn.Parameter(torch.empty(order, in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        bound = math.sqrt(6 / (order * in_channels + out_channels))
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features [V, N, C] to [V', N, C']."""
        order, channels, out_channels = self.weight.shape
        out_vertices, vertices = self.basis.shape[1:]
        if channels <= out_channels:
            mixed = self.basis.reshape(order * out_vertices, vertices) @ x.reshape(vertices, -1)
            by_term = mixed.reshape(order, out_vertices, -1, channels).permute(1, 2, 0, 3)
            y = by_term.flatten(2) @ self.weight.reshape(order * channels, out_channels)
        else:
            terms = x @ self.weight.permute(1, 0, 2).reshape(channels, order * out_channels)
            by_term = terms.reshape(vertices, -1, order, out_channels).permute(2, 0, 1, 3)
            basis = self.basis.permute(1, 0, 2).reshape(out_vertices, order * vertices)
            y = (basis @ by_term.reshape(order * vertices, -1)).reshape(out_vertices, -1, out_channels)
        return y + self.bias
